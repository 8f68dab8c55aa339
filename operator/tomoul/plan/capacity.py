"""Capacity: GPUs on a region's nodes, and what its models ask for; counted in devices."""

from collections.abc import Mapping

from tomoul.api.region import Accelerator, AcceleratorCapacity, Region
from tomoul.plan.acceptance import accelerator_of, accepted_regions
from tomoul.plan.claims import claims
from tomoul.plan.workload import pools, wanted_replicas
from tomoul.plan.world import World


def capacity(world: World, region: Region) -> tuple[AcceleratorCapacity, ...]:
    """Each accelerator's devices on ready nodes, and those that pods there request."""
    return tuple(_of_accelerator(world, region, accelerator) for accelerator in region.spec.placement.accelerators)


def lost_nodes(world: World) -> frozenset[str]:
    """Names of the nodes whose kubelets are silent or not ready."""
    return frozenset(node.name for node in world.facts.nodes if not node.reachable)


def demand(world: World) -> Mapping[tuple[str, str], int]:
    """GPUs that the accepted models ask for, by region and accelerator; an autoscaled pool counts as one replica."""
    totals: dict[tuple[str, str], int] = {}
    owners = claims(world.models)
    for key, model in world.models.items():
        for name in accepted_regions(world, key, owners):
            accelerator = accelerator_of(model.spec, world.regions[name])
            if accelerator is None or not world.settings.hosts(name):
                continue
            replicas = [wanted_replicas(model.spec, name, pool) for pool in pools(model.spec)]
            devices = model.spec.resources.count * sum(1 if count is None else count for count in replicas)
            totals[name, accelerator.name] = totals.get((name, accelerator.name), 0) + devices
    return dict(sorted(totals.items()))


def _of_accelerator(world: World, region: Region, accelerator: Accelerator) -> AcceleratorCapacity:
    selector = dict(region.spec.placement.node_selector) | dict(accelerator.node_selector)
    nodes = {
        node.name: node.allocatable.get(accelerator.resource, 0)
        for node in world.facts.nodes
        if node.ready and selector.items() <= node.labels.items()
    }
    requested = sum(
        pod.requests.get(accelerator.resource, 0)
        for pods in world.facts.pods.values()
        for pod in pods
        if pod.node in nodes and pod.phase not in ("Succeeded", "Failed")
    )
    return AcceleratorCapacity(name=accelerator.name, allocatable=sum(nodes.values()), requested=requested)
