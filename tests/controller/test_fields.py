"""Which live objects still have everything from us; the real API server's answers are in tests/integration."""

import copy
from typing import Any

import pytest

from tomoul.controller.fields import applied_fields, owns, rendered_hash

FIELDS = {
    "f:metadata": {"f:labels": {"f:app": {}}, "f:ownerReferences": {'k:{"uid":"u1"}': {}}},
    "f:spec": {
        "f:selector": {},
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"engine"}': {
                        ".": {},
                        "f:name": {},
                        "f:args": {},
                        "f:ports": {
                            'k:{"containerPort":8000,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:name": {}}
                        },
                    }
                }
            }
        },
    },
}


def manifest(**spec: Any) -> dict[str, Any]:
    container = {"name": "engine", "args": ["--port", "8000"], "ports": [{"containerPort": 8000, "name": "http"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x", "namespace": "y", "labels": {"app": "x"}, "ownerReferences": [{"uid": "u1"}]},
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "replicas": 1,
            "template": {"spec": {"containers": [container], "volumes": []}},
            **spec,
        },
    }


def without(*path: str) -> dict[str, Any]:
    """FIELDS less one field."""
    *parents, last = path
    changed: dict[str, Any] = copy.deepcopy(FIELDS)
    node = changed
    for name in parents:
        node = node[name]
    del node[last]
    return changed


def test_an_object_whose_fields_are_all_ours_needs_no_apply() -> None:
    assert owns(FIELDS, manifest())


@pytest.mark.parametrize(
    "path",
    [
        ("f:metadata", "f:labels", "f:app"),
        ("f:metadata", "f:ownerReferences"),
        ("f:spec", "f:replicas"),
        ("f:spec", "f:selector"),
        ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"engine"}', "f:args"),
    ],
)
def test_a_field_that_somebody_else_has_taken_calls_for_an_apply(path: tuple[str, ...]) -> None:
    changed = without(*path)
    if path == ("f:metadata", "f:labels", "f:app"):
        changed["f:metadata"]["f:labels"] = {"f:other": {}}
    assert not owns(changed, manifest())


def test_an_item_of_a_list_that_is_not_ours_calls_for_an_apply() -> None:
    item = manifest()
    item["spec"]["template"]["spec"]["containers"].append({"name": "second"})
    assert not owns(FIELDS, item)


def test_a_key_that_the_api_server_defaults_is_found_all_the_same() -> None:
    ports = 'k:{"containerPort":8000,"protocol":"TCP"}'
    container = FIELDS["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"engine"}']  # type: ignore[index]
    assert ports in container["f:ports"], "the manifest leaves the protocol out"
    assert owns(FIELDS, manifest())


def test_an_object_that_was_never_applied_by_us_calls_for_an_apply() -> None:
    assert not owns({}, manifest())


def test_only_our_apply_of_the_object_itself_counts() -> None:
    def entry(manager: str, operation: str, **more: str) -> dict[str, Any]:
        return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {f"f:{manager}": {}}}, **more}

    live = {
        "metadata": {
            "managedFields": [
                entry("us", "Update"),
                entry("us", "Apply", subresource="status"),
                entry("them", "Apply"),
            ]
        }
    }
    assert applied_fields(live, "us") == {}
    live["metadata"]["managedFields"].append(entry("us", "Apply"))
    assert applied_fields(live, "us") == {"f:spec": {"f:us": {}}}


def test_the_hash_knows_the_content_and_not_the_order() -> None:
    assert rendered_hash({"a": 1, "b": 2}) == rendered_hash({"b": 2, "a": 1})
    assert rendered_hash({"a": 1}) != rendered_hash({"a": 2})
