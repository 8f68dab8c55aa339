"""Objects that are wrong somewhere: what `tomoul plan` says of them is what the API server says."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.cases import Case, Object, cases
from tests.api.judges import causes, create
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane
from tomoul.api.crd import KINDS, root_schema
from tomoul.api.manifest import InvalidResource, parse_resource

ACCEPTED: list[Case] = [parameter.values[0] for parameter in cases("accepted")]
SCHEMAS = {kind.name: root_schema(kind.model) for kind in KINDS}
Path = tuple[str | int, ...]

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 33, 257, 65536, 2**31, 2**63, 0.5, "", " ", "a", "A", "1", "eu-west", "EU-West",
    "a\n", "-a", "a-", "a b", "é", "a" * 33, "a" * 64, "a" * 129, "a" * 254, "a/b", "/a", "../a", "https://a.example",
    "Off", "Disabled", "VLLM", "vllm", "4", "4.0000", "16Gi", "16GI", "0", [], {}, [1], ["a"], ["a", "a"],
    ["--port", "1"], {"a": "b"}, {"a": 1}, {"name": "a"}, {"name": "a", "key": "b"}, [{"name": "eu-west"}],
    [{"name": "a"}, {"name": "a"}],
]  # fmt: skip


def sites(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where an object has a value."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield from sites(inner, (*path, name))


def schema_at(kind: str, path: Path) -> dict[str, Any]:
    node = SCHEMAS[kind]
    for part in path:
        node = node.get("items") or node.get("additionalProperties") or node.get("properties", {}).get(part, {})
    return node


def values(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([*node.get("enum", ()), *ODD]).map(copy.deepcopy)


@st.composite
def mutants(draw: st.DrawFn) -> Object:
    """An accepted object with a value that is another, gone, new, or one too many."""
    obj = copy.deepcopy(draw(st.sampled_from(ACCEPTED)).object)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(sites(obj["spec"], ("spec",)))))
        parent: Any = obj
        for part in path[:-1]:
            parent = parent[part]
        value = parent[path[-1]]
        node = schema_at(obj["kind"], path)
        how = draw(st.sampled_from(["other", "gone", "known", "unknown", "twice"]))
        if how == "known" and isinstance(value, dict) and node.get("properties"):
            name = draw(st.sampled_from(sorted(node["properties"])))
            inner = node["properties"][name]
            value[name] = draw(values(inner))
        elif how == "unknown" and isinstance(value, dict):
            value["colour"] = draw(values({}))
        elif how == "twice" and isinstance(value, list) and value:
            value.append(copy.deepcopy(value[0]))
        elif how == "gone" and isinstance(parent, dict):
            del parent[path[-1]]
            if not obj.get("spec"):
                obj["spec"] = {}
        else:
            parent[path[-1]] = draw(values(node))
        if not isinstance(obj["spec"], dict):
            break
    return obj


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(obj=mutants())
def test_offline_and_the_api_server_refuse_the_same_and_name_a_field_in_common(
    obj: Object, control_plane: ControlPlane
) -> None:
    offline: set[str] = set()
    try:
        parse_resource(obj)
    except InvalidResource as refusal:
        offline = {error.field for error in refusal.errors}
    server: set[str] = set()
    said = ""
    try:
        create(control_plane, obj)
    except ApiError as refusal:
        server, said = {field for field, _ in causes(refusal)}, str(refusal)
    assert bool(offline) == bool(said), f"{offline or 'nothing'} offline, by the API server {said or 'nothing'}: {obj}"
    assert not offline or related(offline, server), f"{offline} offline, {server} by the API server: {obj}"


def related(some: set[str], others: set[str]) -> bool:
    """Whether two of them are one field, or one is within the other: where an object is none, both say so their way."""
    return any(
        one == other or one.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{one}.", f"{one}["))
        for one in some
        for other in others
    )
