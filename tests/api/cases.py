"""The tables of accepted and refused objects in cases/*.yaml."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent / "cases"
Object = dict[str, Any]

PLURALS = {"ModelDeployment": "modeldeployments", "Region": "regions", "Tenant": "tenants"}


@dataclass(frozen=True)
class Case:
    """An object, and how it is refused (`field` empty: it is accepted)."""

    object: Object
    field: str = ""
    words: str = ""
    offline: str = ""
    server: str = ""


def cases(section: str) -> list[Any]:
    """All cases of a section, as pytest parameters named by their sentence."""
    return [pytest.param(case, id=f"{kind}: {what}") for kind, what, case in _cases(section)]


def _cases(section: str) -> Iterator[tuple[str, str, Case]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        table = yaml.safe_load(file.read_text())
        for row in table[section]:
            obj = changed(table["base"], row.get("set", {}))
            expected = {key: row[key] for key in ("field", "words", "offline", "server") if key in row}
            yield file.stem, row["what"], Case(obj, **expected)


def changed(base: Object, fields: Object) -> Object:
    """A copy of an object with fields set by their dotted paths."""
    obj = copy.deepcopy(base)
    for path, value in fields.items():
        *parents, last = path.split(".")
        target = obj
        for name in parents:
            target = target.setdefault(name, {})
        target[last] = value
    return obj


def collection(obj: Object) -> str:
    """Path of the API's collection that an object belongs to."""
    namespace = obj["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{obj['apiVersion']}{place}/{PLURALS[obj['kind']]}"
