"""Propagate: labels and annotations of a ModelDeployment that what runs for it should carry too.

Only those that the installation lists by name: tools write into metadata all the time, and what reaches a pod template
restarts engines. None of Tomoul's own can be listed, so they are never overwritten.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tomoul.api.meta import LABEL_COMPONENT, LABEL_MANAGED_BY, LABEL_NAME
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest

_OURS = (LABEL_NAME, LABEL_COMPONENT, LABEL_MANAGED_BY)
_OUR_DOMAIN = "tomoul.ai/"
_OF_KUBERNETES = ("pod-template-hash", "kubectl.kubernetes.io/", "deployment.kubernetes.io/")
"""What its tools and controllers keep for themselves in the metadata of each object."""


def reserved(name: str) -> bool:
    """Whether a label or annotation cannot be propagated, since it has a meaning of its own on what runs."""
    return name in _OURS or name.startswith((_OUR_DOMAIN, *_OF_KUBERNETES))


def propagated(manifest: Manifest, model: ModelDeployment, settings: Settings) -> dict[str, Any]:
    """An object that was made for `model`, or its pod template, with what of the model's metadata it should carry."""
    metadata: dict[str, Any] = dict(manifest["metadata"])
    for field, found, listed in (
        ("labels", model.metadata.labels, settings.propagated_labels),
        ("annotations", model.metadata.annotations, settings.propagated_annotations),
    ):
        if chosen := _chosen(found, listed):
            metadata[field] = chosen | metadata.get(field, {})
    return {**manifest, "metadata": metadata}


def _chosen(found: Mapping[str, str], listed: Sequence[str]) -> dict[str, str]:
    return {name: found[name] for name in listed if name in found}
