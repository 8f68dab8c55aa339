"""Ownership: whether the live object still has, from our last server-side apply, every field that we would apply now.

The API server takes a field away from our entry in `metadata.managedFields` as soon as somebody else changes its value.
Together with a hash of what was applied, kept as an annotation, that says without a request whether an apply would
change anything: whatever was defaulted or normalised, and across restarts.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tomoul.kube.client import Object
from tomoul.plan.world import Manifest

Fields = Mapping[str, Any]
"""A `fieldsV1`: field → fields below it."""

# Identity, not content: the API server lists them under no manager.
_IDENTITY = ("apiVersion", "kind")
_IDENTITY_OF_METADATA = ("name", "namespace", "uid")


def rendered_hash(manifest: Manifest) -> str:
    """Hash of what is applied, as 16 hexadecimal digits."""
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def applied_fields(live: Object, manager: str) -> Fields:
    """The `fieldsV1` of what `manager` has applied to the object itself; empty if it has not."""
    for entry in live["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry["operation"] == "Apply" and not entry.get("subresource"):
            found: Fields = entry.get("fieldsV1", {})
            return found
    return {}


def owns(fields: Fields, manifest: Manifest) -> bool:
    """Whether `fields` cover every field of `manifest`; no fields cover nothing."""
    if not fields:
        return False
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _IDENTITY_OF_METADATA}
    content = {name: value for name, value in manifest.items() if name not in _IDENTITY}
    return _covers(fields, content | {"metadata": metadata})


def owned(fields: Fields, value: Any) -> Any:
    """What of `value` the fields name: the manifest that was applied, as the live object has it."""
    below = {name: child for name, child in fields.items() if name != "."}
    if not below:
        return value
    if isinstance(value, Mapping):
        return {name: owned(below[f"f:{name}"], child) for name, child in value.items() if f"f:{name}" in below}
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    scalars = {name[2:] for name in below if name.startswith("v:")}
    by_key = [(json.loads(name[2:]), child) for name, child in below.items() if name.startswith("k:")]
    found = []
    for item in value:
        if not isinstance(item, Mapping):
            found += [item] if json.dumps(item) in scalars else []
            continue
        found += [owned(child, item) for key, child in by_key if key.items() <= item.items()]
    return found


def _covers(fields: Fields, value: object) -> bool:
    # A field without fields below it is owned as a whole: a scalar, or an atomic list or map.
    if not [name for name in fields if name != "."]:
        return True
    if isinstance(value, Mapping):
        return all(
            f"f:{name}" in fields and _covers(fields[f"f:{name}"], child)
            for name, child in value.items()
            if not _is_empty(child)
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _covers_list(fields, value)
    return True


def _covers_list(fields: Fields, items: Sequence[object]) -> bool:
    scalars = {name[2:] for name in fields if name.startswith("v:")}
    by_key = {}
    for name, below in fields.items():
        if name.startswith("k:"):
            key: Mapping[str, object] = json.loads(name[2:])
            by_key[frozenset(key.items())] = below
    shapes = {tuple(sorted(name for name, _ in key)) for key in by_key}
    for item in items:
        if not isinstance(item, Mapping):
            if json.dumps(item) not in scalars:
                return False
            continue
        if not any(_covers(below, item) for below in _candidates(by_key, shapes, item)):
            return False
    return True


def _candidates(
    by_key: Mapping[frozenset[tuple[str, object]], Fields], shapes: set[tuple[str, ...]], item: Mapping[str, Any]
) -> list[Fields]:
    """Entries whose key is the item's; keys that the item leaves to the API server's defaults match any value."""
    exact = [frozenset((name, item[name]) for name in shape) for shape in shapes if all(name in item for name in shape)]
    found = [by_key[key] for key in exact if key in by_key]
    if found or exact:
        return found
    return [below for key, below in by_key.items() if all(item.get(name, value) == value for name, value in key)]


def _is_empty(value: object) -> bool:
    """What the API server drops from an object, and from its fields with it."""
    return value is None or value in ("", {}, [], ())
