"""Transitions: what may not change of an object that exists, as the API server judges it by `oldSelf`."""

from collections.abc import Iterator, Mapping
from typing import Any

from tomoul.api.crd import root_schema
from tomoul.api.fielderror import FieldError
from tomoul.api.manifest import Resource
from tomoul.api.rules import VALIDATIONS, is_immutable


def forbidden_changes(before: Resource, after: Resource) -> list[FieldError]:
    """Fields that differ between two states of an object and must not."""
    if before.spec == after.spec:
        return []
    old, new = (each.model_dump(mode="json", by_alias=True, include={"spec"}) for each in (before, after))
    return list(_changed(root_schema(type(after)), old, new, ""))


def _changed(node: Mapping[str, Any], old: Any, new: Any, path: str) -> Iterator[FieldError]:
    if old is None or new is None or old == new:
        return
    for validation in node.get(VALIDATIONS, ()):
        if is_immutable(validation):
            yield FieldError(path, f"{validation['message']}; it was `{old}`")
    for name, field in node.get("properties", {}).items():
        yield from _changed(field, old.get(name), new.get(name), f"{path}.{name}".removeprefix("."))
