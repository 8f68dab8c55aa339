"""Capacity: GPUs on a region's nodes, and what its models ask for; counted in devices."""

from collections.abc import Container, Mapping
from typing import NamedTuple

from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.region import Accelerator, AcceleratorCapacity, Region
from tomoul.api.routingtable import PoolName
from tomoul.plan.acceptance import accelerator_of, accepted_regions
from tomoul.plan.claims import claims
from tomoul.plan.scaling import scaling_of
from tomoul.plan.workload import pools, wanted_replicas
from tomoul.plan.world import Key, World


def capacity(world: World, region: Region) -> tuple[AcceleratorCapacity, ...]:
    """Each accelerator's devices on ready nodes, and those that pods there request."""
    return tuple(capacity_of(world, region, accelerator, {}) for accelerator in region.spec.placement.accelerators)


def capacity_of(
    world: World, region: Region, accelerator: Accelerator, labels: Mapping[str, str]
) -> AcceleratorCapacity:
    """An accelerator's devices on ready nodes with these labels too, and those that pods there request."""
    selector = dict(region.spec.placement.node_selector) | dict(accelerator.node_selector) | dict(labels)
    nodes = {
        node.name: node.allocatable.get(accelerator.resource, 0)
        for node in world.facts.nodes
        if node.ready and selector.items() <= node.labels.items()
    }
    requested = dict.fromkeys(nodes, 0)
    for pods in world.facts.pods.values():
        for pod in pods:
            if pod.node in nodes and not pod.ended:
                requested[pod.node] += pod.requests.get(accelerator.resource, 0)
    # A node whose devices have vanished may have pods that hold more than are left: they hold none of other nodes.
    free = [max(count - requested[name], 0) for name, count in nodes.items()]
    return AcceleratorCapacity(
        name=accelerator.name,
        allocatable=sum(nodes.values()),
        requested=sum(requested.values()),
        free=sum(free),
        most_free=max(free, default=0),
    )


def lost_nodes(world: World) -> frozenset[str]:
    """Names of the nodes whose kubelets are silent or not ready."""
    return frozenset(node.name for node in world.facts.nodes if not node.reachable)


class Demand(NamedTuple):
    """GPUs that models ask for, or replicas of a pool: the fewest and the most that there may be."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}..{self.most}"


NO_DEMAND = Demand(0, 0)


def added(one: Demand, other: Demand) -> Demand:
    """Both together."""
    return Demand(one.least + other.least, one.most + other.most)


def demand(world: World, only: Container[tuple[Key, str]] | None = None) -> Mapping[tuple[str, str], Demand]:
    """GPUs that the accepted models ask for, by region and accelerator; `only` those of these models and regions.

    A pool whose replicas somebody else's autoscaler sets counts as one replica.
    """
    totals: dict[tuple[str, str], Demand] = {}
    owners = claims(world.models)
    for key, model in world.models.items():
        for name in accepted_regions(world, key, owners):
            accelerator = accelerator_of(model.spec, world.regions[name])
            if accelerator is None or not world.settings.hosts(name) or (only is not None and (key, name) not in only):
                continue
            before = totals.get((name, accelerator.name), NO_DEMAND)
            count = model.spec.resources.gpus
            bounds = [replicas_of(model.spec, name, pool) or Demand(1, 1) for pool in pools(model.spec)]
            asked = Demand(count * sum(bound.least for bound in bounds), count * sum(bound.most for bound in bounds))
            totals[name, accelerator.name] = added(before, asked)
    return dict(sorted(totals.items()))


def replicas_of(spec: ModelDeploymentSpec, region: str, pool: PoolName) -> Demand | None:
    """The fewest and the most replicas of a pool; None where somebody else's autoscaler counts them."""
    if (scaling := scaling_of(spec, region, pool)) is not None:
        return Demand(scaling.min_replicas, scaling.max_replicas)
    replicas = wanted_replicas(spec, region, pool)
    return None if replicas is None else Demand(replicas, replicas)
