"""Children: what is kept of the objects that the operator makes, whatever their kind."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import orjson

from tomoul.api.meta import COMPONENT_GATEWAY, LABEL_COMPONENT, LABEL_MODEL_DEPLOYMENT, LABEL_REGION
from tomoul.controller.fields import applied_fields
from tomoul.kube.client import Object
from tomoul.plan.world import Key

MANAGER = "tomoul-operator"
STATUS_MANAGER = "tomoul-operator-status"
SCALE_MANAGER = "tomoul-operator-scale"
"""Holds `spec.replicas` between the operator, which no longer sets it, and the autoscaler, which does not yet."""
HASH_ANNOTATION = "tomoul.ai/applied-hash"

_OWNER = "<owner>"
"""In the place of the owner's uid in `Child.fields`."""

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Parent:
    """What an object was made for: a ModelDeployment in a region, or a region's gateways."""

    region: str
    model: Key | None = None


@dataclass(frozen=True, slots=True)
class Child(Generic[F]):
    """An object that the operator makes."""

    uid: str
    owner_uid: str
    """uid of the controlling owner, or empty."""
    parent: Parent
    deleting: bool
    hash: str
    """Hash of what was applied last."""
    fields: str
    """`fieldsV1` of what the operator has applied, as JSON; `parsed_fields` reads it."""
    fact: F
    pool: str = ""
    """Of a LeaderWorkerSet: see `pool_of`."""


def child(item: Object) -> Child[None]:
    """A Service, ServiceAccount, PodDisruptionBudget or NetworkPolicy."""
    return child_of(item, None)


def child_of(item: Object, fact: F, pool: str = "") -> Child[F]:
    """Any child, with what is kept of its kind."""
    metadata = item["metadata"]
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")]
    applied = applied_fields(item, MANAGER)
    fields = orjson.dumps(applied).decode() if applied else ""
    return Child(
        uid=metadata["uid"],
        owner_uid=sys.intern(owners[0]) if owners else "",
        parent=parent_of(metadata),
        deleting="deletionTimestamp" in metadata,
        hash=(metadata.get("annotations") or {}).get(HASH_ANNOTATION, ""),
        # But for the owner they are the same in all objects of a kind, and there is one string for them all.
        fields=sys.intern(fields.replace(owners[0], _OWNER) if owners else fields),
        fact=fact,
        pool=pool,
    )


def parent_of(metadata: Mapping[str, Any]) -> Parent:
    """By the labels."""
    labels = metadata.get("labels") or {}
    region, model = labels.get(LABEL_REGION, ""), labels.get(LABEL_MODEL_DEPLOYMENT, "")
    if labels.get(LABEL_COMPONENT) == COMPONENT_GATEWAY or not model:
        return Parent(region)
    return _model_in(region, metadata.get("namespace", ""), model)


@lru_cache(maxsize=1024)
def _model_in(region: str, namespace: str, model: str) -> Parent:
    # One for all that a model has in a region.
    return Parent(region, Key(namespace, model))


def parsed_fields(value: Child[Any]) -> Mapping[str, Any]:
    """`value.fields` as a mapping."""
    found: Mapping[str, Any] = orjson.loads(value.fields.replace(_OWNER, value.owner_uid)) if value.fields else {}
    return found
