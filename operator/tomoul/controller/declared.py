"""Declared: what is kept of a resource that people write, also of one that cannot be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from tomoul.api.manifest import InvalidResource, parse_resource
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.tenant import Tenant
from tomoul.controller.sharing import shared
from tomoul.kube.client import Object

R = TypeVar("R", ModelDeployment, Region, Tenant)


@dataclass(frozen=True, slots=True)
class Declared(Generic[R]):
    """A resource that people write."""

    uid: str
    generation: int
    deleting: bool
    resource: R | None
    """None if it cannot be read: the CRD should have refused it, or is of a newer version."""
    errors: str = ""
    """Why it is invalid, with the names of the fields."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """`status` of an invalid one, as it is."""
    model_id: str | None = None
    """`spec.model.id` of an invalid one, if that much can be read."""


def declared(item: Object, kind: type[R]) -> Declared[R]:
    """A ModelDeployment, Region or Tenant."""
    metadata = item["metadata"]
    base = (metadata["uid"], metadata.get("generation", 0), "deletionTimestamp" in metadata)
    # managedFields are half of the object, and the parser has no use for them.
    lean = {**item, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}
    try:
        resource = parse_resource(lean, ignore_unknown=True)
    except InvalidResource as error:
        return Declared(*base, None, str(error), item.get("status") or {}, _model_id(item))
    assert isinstance(resource, kind), f"{item['kind']} parsed as {type(resource).__name__}"
    return Declared(*base, shared(resource))


def spec_of(value: Declared[R]) -> object:
    """What of a declared resource causes work: all but its status."""
    metadata = value.resource.metadata if value.resource is not None else None
    told = (metadata.labels, metadata.annotations) if metadata is not None else None
    return value.uid, value.generation, value.deleting, value.errors, told


def conditions_of(status: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Conditions as far as they can be read; of an invalid object everything may be odd."""
    try:
        return tuple(Condition.model_validate(entry) for entry in status["conditions"])
    except (KeyError, TypeError, ValidationError):
        return ()


def _model_id(item: Object) -> str | None:
    try:
        return str(item["spec"]["model"]["id"])
    except (KeyError, TypeError):
        return None
