"""ModelDeployments and Tenants where the operator may make nothing: refused, since they would count all the same."""

from collections.abc import Iterator

import pytest
import yaml

from tests.chart.helm import Object, render
from tests.controlplane.api import ApiError, eventually
from tests.controlplane.harness import ControlPlane

LISTED, ELSEWHERE = "listed-models", "elsewhere"
POLICY = "tomoul-workload-namespaces"
GROUP = "/apis/tomoul.ai/v1alpha1/namespaces"
MODEL: Object = {
    "apiVersion": "tomoul.ai/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "chat"},
    "spec": {
        "model": {"id": "acme/chat"},
        "source": {"file": {"path": "/models/a"}},
        "engine": {"type": "VLLM"},
        "regions": [{"name": "eu-west", "replicas": 1}],
    },
}
TENANT: Object = {
    "apiVersion": "tomoul.ai/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "chat"},
    "spec": {"apiKeys": {"secretName": "keys"}},
}
PLURALS = {"modeldeployments": MODEL, "tenants": TENANT}


def put(control_plane: ControlPlane, namespace: str, plural: str, item: Object, **query: str) -> str:
    """What the API server says against it; nothing if it is taken."""
    try:
        control_plane.api.apply(f"{GROUP}/{namespace}/{plural}/{item['metadata']['name']}", item, **query)
    except ApiError as error:
        if error.status == 403:
            return str(error)
        raise
    return ""


@pytest.fixture(scope="module", autouse=True)
def policy(control_plane: ControlPlane) -> Iterator[None]:
    for namespace in (LISTED, ELSEWHERE):
        control_plane.add_namespace(namespace)
        for plural, item in PLURALS.items():
            old = {**item, "metadata": {"name": "old"}}
            assert put(control_plane, namespace, plural, old) == ""
    found = [each for each in render(f"workloadNamespaces={{{LISTED},others}}") if each["metadata"]["name"] == POLICY]
    manifest = yaml.safe_dump_all(found)
    control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=manifest)
    eventually(lambda: put(control_plane, ELSEWHERE, "tenants", TENANT, dryRun="All") != "", 60)
    yield
    control_plane.kubectl("delete", "-f", "-", input=manifest)
    eventually(lambda: put(control_plane, ELSEWHERE, "tenants", TENANT, dryRun="All") == "", 60)
    for namespace in (LISTED, ELSEWHERE):
        control_plane.api.delete(f"/api/v1/namespaces/{namespace}")


@pytest.mark.parametrize("plural", PLURALS)
def test_what_nothing_can_be_made_of_is_refused_with_the_namespaces_where_it_can(
    control_plane: ControlPlane, plural: str
) -> None:
    assert put(control_plane, ELSEWHERE, plural, PLURALS[plural]).endswith(
        f"metadata.namespace: `{ELSEWHERE}` is none of the namespaces in which Tomoul runs models and reads keys, "
        f"`{LISTED}`, `others`: use one of those, or have it listed in the chart's `workloadNamespaces`"
    )
    assert put(control_plane, LISTED, plural, PLURALS[plural]) == ""


@pytest.mark.parametrize("plural", PLURALS)
def test_what_was_there_before_can_be_changed_and_deleted(control_plane: ControlPlane, plural: str) -> None:
    old = {**PLURALS[plural], "metadata": {"name": "old", "labels": {"a": "b"}}}
    assert put(control_plane, ELSEWHERE, plural, old) == ""
    control_plane.api.delete(f"{GROUP}/{ELSEWHERE}/{plural}/old")


def test_without_the_value_models_may_run_in_all_namespaces() -> None:
    assert not [found for found in render() if found["metadata"]["name"] == POLICY]
