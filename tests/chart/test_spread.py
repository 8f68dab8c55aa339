"""Where a real scheduler puts a region's gateways: on nodes of their own, in zones of their own if there are some."""

from collections.abc import Iterator, Mapping

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tomoul.api.region import Region
from tomoul.plan.gateway import gateway
from tomoul.plan.settings import Settings

ZONE = "topology.kubernetes.io/zone"
MANY_NODES_IN_ONE_ZONE = {f"spread-{number}": {ZONE: "a"} for number in range(5)} | {"spread-b": {ZONE: "b"}}
NO_ZONES: Mapping[str, Mapping[str, str]] = {"spread-0": {}, "spread-1": {}}


@pytest.fixture
def nodes(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Mapping[str, Mapping[str, str]]]:
    for name, labels in request.param.items():
        control_plane.add_node(name, {"spread": "yes", **labels})
    yield request.param
    for name in request.param:
        control_plane.api.delete(f"/api/v1/nodes/{name}")


def scheduled(control_plane: ControlPlane, namespace: str) -> list[str]:
    """The nodes of a region's two gateways, once they have some."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
    control_plane.api.apply(f"/api/v1/namespaces/{namespace}/serviceaccounts/tomoul-gateway", account)
    spec = {"placement": {"nodeSelector": {"spread": "yes"}}}
    region = Region.model_validate({"metadata": {"name": "eu-west"}, "spec": spec})
    deployment = dict(gateway(region, Settings(namespace=namespace))[0])
    name = deployment["metadata"]["name"]
    control_plane.api.apply(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", deployment)

    def found() -> list[str]:
        pods = control_plane.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        where = [pod["spec"].get("nodeName", "") for pod in pods]
        return where if len(where) == 2 and all(where) else []

    return eventually(found)


@pytest.mark.parametrize("nodes", [MANY_NODES_IN_ONE_ZONE], indirect=True)
def test_two_gateways_are_in_two_zones_however_many_nodes_one_of_them_has(
    control_plane: ControlPlane, namespace: str, nodes: Mapping[str, Mapping[str, str]]
) -> None:
    assert sorted(nodes[name][ZONE] for name in scheduled(control_plane, namespace)) == ["a", "b"]


@pytest.mark.parametrize("nodes", [NO_ZONES], indirect=True)
def test_two_gateways_are_on_two_nodes_where_there_are_no_zones(
    control_plane: ControlPlane, namespace: str, nodes: Mapping[str, Mapping[str, str]]
) -> None:
    assert sorted(scheduled(control_plane, namespace)) == sorted(nodes)
