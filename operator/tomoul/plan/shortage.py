"""Shortage: the GPUs that a model's pods wait for in a region, counted in devices."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Accelerator, AcceleratorCapacity, Region
from tomoul.plan.acceptance import accelerator_of
from tomoul.plan.capacity import capacity, capacity_of
from tomoul.plan.judge import Rollout
from tomoul.plan.seeds import deterministic, product_selector
from tomoul.plan.world import World


class Shortage(NamedTuple):
    """What pods without a node need together, and what is there."""

    needed: int
    free: int
    """Devices on the ready nodes that will do and that no pod of Tomoul requests; other pods may."""
    allocatable: int
    each: str
    """What one replica needs, in words."""
    apart: int | None = None
    """The most that are free on one node, where that is too few for a pod though there are enough together."""

    def __str__(self) -> str:
        """The shortage in words."""
        apart = "" if self.apart is None else f", and at most {self.apart} of them are on one node"
        free = (
            f"{self.free} of {self.allocatable} are not requested by Tomoul's models{apart}"
            if self.allocatable
            else "no node that the Region's `placement` selects, and that is ready and not cordoned, has any: see the "
            "nodes' labels and device plugin"
        )
        needed = "1 GPU is" if self.needed == 1 else f"{self.needed} GPUs are"
        return f"{needed} needed, {self.each}; {free}"


def shortage(world: World, model: ModelDeployment, region: Region, rollouts: Iterable[Rollout]) -> Shortage | None:
    """The GPUs that pods without a node wait for; None if all have one, and for models without GPUs."""
    accelerator = accelerator_of(model.spec, region)
    waiting = sum(_without_node(rollout) for rollout in rollouts)
    if accelerator is None or waiting == 0:
        return None
    product = _product(world, model, region, accelerator)
    if product:
        counts = capacity_of(world, region, accelerator, product)
    else:
        # As the Region tells it, which looks through all pods once for all models; offline nobody tells.
        told = region.status.accelerators or capacity(world, region)
        found = (each for each in told if each.name == accelerator.name)
        counts = next(found, AcceleratorCapacity(name=accelerator.name))
    count = model.spec.resources.count
    nodes = model.spec.resources.nodes
    who = "each replica" if nodes == 1 else f"each of the {nodes} pods of a replica"
    why = "which keeps seeds" if nodes == 1 else "since its GPUs are of one product"
    labels = (f" on nodes with the label `{name}={value}`, {why}" for name, value in product.items())
    return Shortage(
        needed=count * waiting,
        free=counts.free,
        allocatable=counts.allocatable,
        apart=counts.most_free if counts.most_free < count <= counts.free else None,
        each=f"{count} × `{accelerator.name}` ({accelerator.resource}) for {who}{''.join(labels)}",
    )


def _product(world: World, model: ModelDeployment, region: Region, accelerator: Accelerator) -> Mapping[str, str]:
    """The label of those of the accelerator's nodes that alone will do, where its GPUs have to be of one product."""
    single = model.spec.resources.nodes > 1 or deterministic(model.spec, region, world.settings)
    return (product_selector(accelerator, region) or {}) if single else {}


def _without_node(rollout: Rollout) -> int:
    """Pods that are wanted and have no node yet, whether they exist or not; a rollout may have one more than wanted."""
    return max(len(rollout.living), rollout.wanted * rollout.size) - rollout.placed
