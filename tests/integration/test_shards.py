"""Models that become many, and few again, on a real control plane, while gateways follow and operators are killed."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tests.controlplane.kubelet import running
from tests.integration.cluster import REGIONS, SYSTEM, Cluster, Object, model, running_cluster
from tests.integration.following import Following
from tests.integration.operators import COLLECTIONS, condition, path
from tomoul.plan.shards import shard_names

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/tomoul-operator"
MOST = 200
"""Routes that one table holds, as the operator has it."""


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator"), running) as started:
        # Models that run elsewhere have routes in all tables, and nothing else here.
        elsewhere = {"displayName": "Elsewhere", "placement": {"nodeSelector": {"no": "node"}}}
        head = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": "elsewhere"}}
        started.apply(head | {"spec": elsewhere})
        yield started


@pytest.fixture
def gateways(cluster: Cluster, control_plane: ControlPlane) -> Iterator[dict[str, Following]]:
    def both(region: str) -> list[str]:
        pods = cluster.gateway_pods(region)
        assert len(pods) == 2
        return pods

    following = {
        region: Following(control_plane, region, eventually(lambda region=region: both(region))) for region in REGIONS
    }
    yield following
    for each in following.values():
        each.stop()


def tables(cluster: Cluster, region: str) -> dict[str, Object]:
    found = cluster.api.get(COLLECTIONS["RoutingTable"], labelSelector=f"tomoul.ai/region={region}")["items"]
    return {item["metadata"]["name"]: item for item in found}


def ids(table: Object) -> set[str]:
    return {route["id"] for route in table["spec"].get("models", ())}


def in_one(cluster: Cluster, region: str, count: int) -> bool:
    found = tables(cluster, region)
    assert list(found) == [region], list(found)
    assert len(ids(found[region])) == count
    return True


def in_shards(cluster: Cluster, region: str, count: int) -> bool:
    found = tables(cluster, region)
    assert sorted(found) == [region, *shard_names(region)]
    assert not ids(found[region])
    assert sum(len(ids(table)) for table in found.values()) == count
    return True


def all_at_once(cluster: Cluster, what: Callable[[str], object], names: list[str]) -> None:
    def some(part: list[str]) -> None:
        for name in part:
            what(name)
        cluster.api.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, [names[start::8] for start in range(8)]))


def restarted(cluster: Cluster, *flags: str) -> None:
    """The operator is killed, and another one takes over at once, perhaps with more flags."""
    cluster.leader.stop(signal.SIGKILL)
    cluster.api.patch(LEASE, {"spec": {"holderIdentity": ""}})
    cluster.leader = cluster.start(*flags)


def test_models_that_become_many_and_few_again_are_served_on_and_a_change_is_written_to_one_shard(
    cluster: Cluster, namespace: str, gateways: dict[str, Following]
) -> None:
    def create(name: str) -> None:
        cluster.apply(model(name, namespace, regions=[{"name": "elsewhere"}]))

    def delete(name: str) -> None:
        cluster.api.delete(path("ModelDeployment", name, namespace))

    names = [f"m{number}" for number in range(MOST + 10)]
    cluster.apply(model("here", namespace))
    all_at_once(cluster, create, names[: MOST - 50])
    for region in REGIONS:
        eventually(lambda region=region: in_one(cluster, region, MOST - 49), 60)
    assert condition(cluster.ready("here", namespace), "Ready")["status"] == "True"

    all_at_once(cluster, create, names[MOST - 50 :])
    eventually(lambda: len(tables(cluster, "eu-west")) > 1, 60)
    restarted(cluster)
    for region in REGIONS:
        eventually(lambda region=region: in_shards(cluster, region, MOST + 11), 60)
        eventually(lambda region=region: len(gateways[region].served) == MOST + 11)
        assert not gateways[region].lost
    row = condition(cluster.model("here", namespace), "RoutesProgrammed", "eu-west")
    assert row["status"] == "True", row

    before = {region: tables(cluster, region) for region in REGIONS}
    item = cluster.model("here", namespace)
    changed = model("here", namespace, routing={"timeouts": {"requestSeconds": 77}})
    assert item["spec"].get("routing") != changed["spec"]["routing"]
    cluster.apply(changed)

    def told() -> bool:
        model_now = cluster.model("here", namespace)
        assert model_now["status"]["observedGeneration"] == model_now["metadata"]["generation"]
        for region in REGIONS:
            found = condition(model_now, "RoutesProgrammed", region)
            assert (found["status"], found["observedGeneration"]) == ("True", model_now["metadata"]["generation"])
        return True

    eventually(told)
    for region in REGIONS:
        after = tables(cluster, region)
        written = [
            name
            for name, table in after.items()
            if table["metadata"]["generation"] != before[region][name]["metadata"]["generation"]
        ]
        assert len(written) == 1, written
        (route,) = [route for route in after[written[0]]["spec"]["models"] if route["id"] == f"{namespace}/here"]
        assert route["timeouts"]["requestSeconds"] == 77
        generations = sum(table["metadata"]["generation"] for table in after.values())
        eventually(
            lambda region=region, wanted=generations: (
                cluster.get("Region", region)["status"]["routingGeneration"] == wanted
            )
        )

    deleted = names[MOST // 2 - 20 :]
    all_at_once(cluster, delete, deleted)
    eventually(lambda: any(ids(found) for name, found in tables(cluster, "eu-west").items() if name == "eu-west"), 60)
    restarted(cluster)
    for region in REGIONS:
        eventually(lambda region=region: in_one(cluster, region, MOST // 2 - 19), 90)
        eventually(lambda region=region: len(gateways[region].served) == MOST // 2 - 19)
        assert gateways[region].lost == {f"{namespace}/{name}" for name in deleted}
    row = condition(cluster.ready("here", namespace), "RoutesProgrammed", "eu-west")
    assert row["status"] == "True", row


def test_an_installation_that_wants_no_shards_any_more_has_one_table_again_and_loses_no_route_on_the_way(
    cluster: Cluster, namespace: str, gateways: dict[str, Following]
) -> None:
    restarted(cluster, "--routes-per-table=20")
    names = [f"b{number}" for number in range(21)]
    all_at_once(cluster, lambda name: cluster.apply(model(name, namespace, regions=[{"name": "elsewhere"}])), names)
    served = {f"{namespace}/{name}" for name in names}
    for region in REGIONS:
        eventually(lambda region=region: len(tables(cluster, region)) == 1 + len(shard_names(region)), 60)
        eventually(lambda region=region: not ids(tables(cluster, region)[region]), 60)
        eventually(lambda region=region: gateways[region].served >= served)
        gateways[region].lost.clear()

    restarted(cluster, "--routes-per-table=0")
    for region in REGIONS:
        eventually(lambda region=region: list(tables(cluster, region)) == [region], 60)
        assert ids(tables(cluster, region)[region]) >= served
        assert gateways[region].served >= served
        assert not gateways[region].lost & served
