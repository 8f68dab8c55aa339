"""Shortage: the GPUs that a model's pods wait for in a region, counted in devices."""

from collections.abc import Iterable
from typing import NamedTuple

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import AcceleratorCapacity, Region
from tomoul.plan.acceptance import accelerator_of
from tomoul.plan.capacity import capacity
from tomoul.plan.judge import Rollout
from tomoul.plan.seeds import deterministic, product_selector
from tomoul.plan.world import World


class Shortage(NamedTuple):
    """What pods without a node need together, and what is there."""

    needed: int
    free: int
    """Devices on the region's ready nodes that no pod of Tomoul requests; other pods may."""
    allocatable: int
    each: str
    """What one replica needs, in words."""

    def __str__(self) -> str:
        """The shortage in words."""
        free = f"{self.free} of {self.allocatable} are not requested by Tomoul's models"
        return f"{self.needed} GPUs are needed, {self.each}; {free}"


def shortage(world: World, model: ModelDeployment, region: Region, rollouts: Iterable[Rollout]) -> Shortage | None:
    """The GPUs that pods without a node wait for; None if all have one, and for models without GPUs."""
    accelerator = accelerator_of(model.spec, region)
    waiting = sum(_without_node(rollout) for rollout in rollouts)
    if accelerator is None or waiting == 0:
        return None
    # As the Region tells it, which looks through all pods once for all models; plans offline have nobody to tell them.
    told = region.status.accelerators or capacity(world, region)
    counts = next(
        (entry for entry in told if entry.name == accelerator.name), AcceleratorCapacity(name=accelerator.name)
    )
    count, where = model.spec.resources.count, _product(world, model, region)
    return Shortage(
        needed=count * waiting,
        free=max(counts.allocatable - counts.requested, 0),
        allocatable=counts.allocatable,
        each=f"{count} × `{accelerator.name}` ({accelerator.resource}) for each replica{where}",
    )


def _product(world: World, model: ModelDeployment, region: Region) -> str:
    """Which of the accelerator's nodes alone will do, in words, where its seeds are kept."""
    accelerator = accelerator_of(model.spec, region)
    if accelerator is None or not deterministic(model.spec, region, world.settings):
        return ""
    labels = [f"`{name}={value}`" for name, value in (product_selector(accelerator, region) or {}).items()]
    return f" on nodes with the label {labels[0]}, which keeps seeds" if labels else ""


def _without_node(rollout: Rollout) -> int:
    """Pods that are wanted and have no node yet, whether they exist or not; a rollout may have one more than wanted."""
    placed = sum(pod.scheduled for pod in rollout.living)
    return max(len(rollout.living) - placed, rollout.wanted - placed)
