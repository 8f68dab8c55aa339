"""Seeds: where equal seeds give equal answers, and why they do not elsewhere."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tomoul.api.capabilities import SeedPromise, SeedStatus
from tomoul.api.conditions import Reason
from tomoul.api.engine import SeedWorth
from tomoul.api.modeldeployment import ModelDeploymentSpec, Ownership
from tomoul.api.region import Accelerator, Region
from tomoul.api.routingtable import SeedSupport
from tomoul.plan.acceptance import accelerator_of
from tomoul.plan.engines.base import Obstacle
from tomoul.plan.engines.registry import engine_image, engine_of
from tomoul.plan.judge import Verdict, shortened
from tomoul.plan.settings import Settings

_PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# https://github.com/NVIDIA/k8s-device-plugin/blob/main/docs/gpu-feature-discovery/README.md and
# https://github.com/ROCm/k8s-device-plugin/blob/master/cmd/k8s-node-labeller/README.md
_PRODUCT_LABELS = {"nvidia.com": "nvidia.com/gpu.product", "amd.com": "amd.com/gpu.product-name"}
_WORTH = {
    "deterministic": SeedWorth.DETERMINISTIC,
    "best_effort": SeedWorth.BEST_EFFORT,
    "ignored": SeedWorth.IGNORED,
}
_ORDER: tuple[SeedSupport, ...] = ("ignored", "best_effort", "deterministic")


class Seeds(NamedTuple):
    """What a seed is worth, and what keeps it from being worth more where it should be."""

    support: SeedSupport
    obstacle: Obstacle | None = None


def planned_seeds(spec: ModelDeploymentSpec, region: Region, settings: Settings) -> Seeds:
    """What seeds are worth in a region once all pods are of the spec's revision."""
    handling = engine_of(spec).seeds(spec)
    if not _wanted(spec):
        return Seeds(handling.worth)
    obstacle = (
        handling.obstacle
        or _image_obstacle(spec, settings)
        or _weights_obstacle(spec)
        or _adapters_obstacle(spec)
        or _accelerator_obstacle(spec, region)
    )
    return Seeds("deterministic") if obstacle is None else Seeds(handling.worth, obstacle)


def deterministic(spec: ModelDeploymentSpec, region: Region, settings: Settings) -> bool:
    """Whether the region's pods run in their engine's deterministic mode: only where that keeps the promise."""
    return planned_seeds(spec, region, settings).support == "deterministic"


def repeats_on_cpus(spec: ModelDeploymentSpec) -> bool:
    """Whether seeds are to be kept by pods without GPUs."""
    return spec.resources.accelerator is None and _wanted(spec)


def weaker(one: SeedSupport, other: SeedSupport) -> SeedSupport:
    """What can be said of a seed that may meet either."""
    return min(one, other, key=_ORDER.index)


def seed_status(seeds: Seeds) -> SeedStatus:
    """What is told of a model in a region."""
    message = shortened(seeds.obstacle.message) if seeds.obstacle is not None else ""
    return SeedStatus(worth=_WORTH[seeds.support], message=message)


def seed_verdict(spec: ModelDeploymentSpec, seeds: Seeds) -> Verdict | None:
    """Whether the promise is kept that the spec asks for in words; None if it does not."""
    if spec.capabilities.seed is not SeedPromise.DETERMINISTIC:
        return None
    if seeds.obstacle is not None:
        words = "ignored" if seeds.support == "ignored" else "best effort"
        return Verdict("False", seeds.obstacle.reason, f"Seeds are {words}: {seeds.obstacle.message}")
    equal = "" if spec.resources.accelerator is not None else ", on nodes with CPUs of one model"
    return Verdict("True", Reason.ENFORCED, f"Equal seeds give equal answers under one `system_fingerprint`{equal}")


def product_selector(accelerator: Accelerator, region: Region) -> Mapping[str, str] | None:
    """The node label that makes an accelerator one product, besides those of the Region; None if nothing does."""
    label = _PRODUCT_LABELS.get(accelerator.resource.partition("/")[0])
    if label is None:
        return None
    if label in accelerator.node_selector or label in region.spec.placement.node_selector:
        return {}
    product = accelerator.product
    return {label: product} if product is not None else None


def _wanted(spec: ModelDeploymentSpec) -> bool:
    if spec.capabilities.seed is None:
        return spec.model.ownership is Ownership.EXCLUSIVE
    return spec.capabilities.seed is SeedPromise.DETERMINISTIC


def _image_obstacle(spec: ModelDeploymentSpec, settings: Settings) -> Obstacle | None:
    image = engine_image(spec, settings)
    if _PINNED.search(image):
        return None
    message = f"image `{image}` may become another one; name it by its digest, as `…@sha256:…`, in `spec.engine.image`"
    return Obstacle(Reason.IMAGE_NOT_PINNED, message)


def _weights_obstacle(spec: ModelDeploymentSpec) -> Obstacle | None:
    hub = spec.source.hf
    if hub is None or _COMMIT.fullmatch(hub.revision):
        return None
    message = f"revision `{hub.revision}` may become another one; name a commit in `spec.source.hf.revision`"
    return Obstacle(Reason.WEIGHTS_NOT_PINNED, message)


def _adapters_obstacle(spec: ModelDeploymentSpec) -> Obstacle | None:
    if not spec.adapters:
        return None
    message = "nobody has shown that equal seeds give equal answers beside LoRA adapters; take out `spec.adapters`"
    return Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)


def _accelerator_obstacle(spec: ModelDeploymentSpec, region: Region) -> Obstacle | None:
    accelerator = accelerator_of(spec, region)
    if accelerator is None or product_selector(accelerator, region) is not None:
        return None
    where = f"accelerator `{accelerator.name}` of Region `{region.metadata.name}`"
    label = _PRODUCT_LABELS.get(accelerator.resource.partition("/")[0])
    if label is None:
        message = f"{where} may be GPUs of several products, and of `{accelerator.resource}` no label tells which"
    else:
        message = f"{where} may be GPUs of several products; name its `product` as the nodes' label `{label}` does"
    return Obstacle(Reason.ACCELERATOR_NOT_SINGLE, message)
