"""Revision: a short hash by which the pods of one pod template are told from those of another."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tomoul.api.meta import LABEL_REVISION
from tomoul.plan.world import Manifest

_LENGTH = 10
_LEADER, _WORKER = "leaderTemplate", "workerTemplate"


def stamped(template: Manifest) -> dict[str, Any]:
    """The template of a pod, or of a LeaderWorkerSet's groups, with its revision as a label of each pod.

    Which image the loaders have is no part of it: it is the operator's, and an upgrade of that replaces no engine.
    """
    text = json.dumps(_with_loaders(template, {}, ""), sort_keys=True, separators=(",", ":"))
    return labelled(template, {LABEL_REVISION: hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]})


def labelled(template: Manifest, labels: Mapping[str, str]) -> dict[str, Any]:
    """A template with these labels on each pod."""
    if is_group(template):
        return {**template, **{name: labelled(template[name], labels) for name in (_LEADER, _WORKER)}}
    metadata = template["metadata"]
    return {**template, "metadata": {**metadata, "labels": {**metadata["labels"], **labels}}}


def with_loaders_of(template: Manifest, live: Manifest) -> Manifest:
    """A template whose loaders have the images that they have in another one of its revision."""
    containers = serving_pod(live).get("spec", {}).get("initContainers", ())
    return _with_loaders(template, {each["name"]: each["image"] for each in containers if each.get("image")})


def is_group(template: Manifest) -> bool:
    """Whether it is the template of a LeaderWorkerSet's groups, and not of single pods."""
    return _LEADER in template


def serving_pod(template: Manifest) -> Manifest:
    """The template of the pod that takes the calls."""
    found: Manifest = template.get(_LEADER, template)
    return found


def pods_of_replica(template: Manifest) -> int:
    """How many pods a replica is made of."""
    return int(template["size"]) if is_group(template) else 1


def revision_of(template: Manifest) -> str:
    """The revision that a template carries; empty if it has none."""
    return str(serving_pod(template).get("metadata", {}).get("labels", {}).get(LABEL_REVISION, ""))


def _with_loaders(template: Manifest, images: Mapping[str, str], otherwise: str | None = None) -> Manifest:
    """A template whose init containers, which all are loaders, have these images, or `otherwise` if that is given."""
    if is_group(template):
        return {**template, **{name: _with_loaders(template[name], images, otherwise) for name in (_LEADER, _WORKER)}}
    loaders = [
        {**each, "image": images.get(each["name"], each["image"] if otherwise is None else otherwise)}
        for each in template["spec"].get("initContainers", ())
    ]
    return {**template, "spec": {**template["spec"], "initContainers": loaders}} if loaders else template
