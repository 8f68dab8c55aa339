"""Replicas of several pods on a real control plane; the part of LeaderWorkerSet's controller is played by a test."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.controlplane import leaderworkersets
from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tests.controlplane.kubelet import crashing, running
from tests.controlplane.leaderworkersets import make_group, tell
from tests.integration.cluster import Cluster, Object, running_cluster
from tests.integration.operators import condition
from tomoul.plan.naming import group_set_name, pool_name

NAMESPACE = "models"
REGION = "eu-west"
DEATH = crashing(1, "torch.AcceleratorError: CUDA error: an illegal memory access was encountered")


def model(name: str, nodes: int = 2, **spec: Any) -> Object:
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"id": f"acme/{name}"},
            "source": {"file": {"path": "/models/big"}},
            "engine": {"type": "VLLM"},
            "resources": {"accelerator": "nvidia-l4", "nodes": nodes},
            "regions": [{"name": REGION, "replicas": 1}],
            **spec,
        },
    }


def pods(pod: Object) -> Mapping[str, Any]:
    """All run, but for workers of the model that is to fail."""
    labels = pod["metadata"]["labels"]
    failing = labels.get("tomoul.ai/model-deployment") == "failing"
    worker = labels.get("app.kubernetes.io/component") == "engine-worker"
    return DEATH(pod) or {} if failing and worker else running(pod)


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator"), pods) as started:
        started.regions_ready()
        yield started


def installed(cluster: Cluster) -> Cluster:
    """The cluster with LeaderWorkerSet's kind."""
    cluster.api.apply(leaderworkersets.PATH, leaderworkersets.CRD)
    return cluster


def told(cluster: Cluster, name: str, kind: str) -> str:
    found = condition(cluster.model(name, NAMESPACE), kind, REGION)
    return f"{found['status']} {found['reason']}: {found.get('message', '')}"


def made(cluster: Cluster, name: str) -> Object:
    """The model's LeaderWorkerSet, once it is there."""
    where = leaderworkersets.path(group_set_name(name, REGION, "default"), NAMESPACE)
    found: Object = eventually(lambda: cluster.api.get(where))
    return found


def serving(cluster: Cluster, name: str) -> set[str]:
    """Addresses of the pods behind the Service of the model's pool, as its EndpointSlices have them."""
    selector = f"kubernetes.io/service-name={pool_name(name, REGION, 'default')}"
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    slices = cluster.api.get(path, labelSelector=selector)["items"]
    return {entry["targetRef"]["name"] for each in slices for entry in each.get("endpoints") or ()}


def gone(cluster: Cluster, found: Object) -> bool:
    return bool(cluster.api.gone(leaderworkersets.path(found["metadata"]["name"], NAMESPACE)))


def test_without_leaderworkerset_it_is_said_what_to_install_and_once_it_is_there_the_model_runs(
    cluster: Cluster,
) -> None:
    cluster.apply(model("early"))

    def refused() -> bool:
        said = told(cluster, "early", "Accepted")
        assert said.startswith("False LeaderWorkerSetMissing: spec.resources.nodes: 2 pods"), said
        return True

    eventually(refused)
    assert cluster.of("early", NAMESPACE) == [], "nothing is made of what is refused"
    found = made(installed(cluster), "early")
    assert found["spec"]["leaderWorkerTemplate"]["size"] == 2
    eventually(lambda: told(cluster, "early", "Accepted").startswith("True"))
    eventually(lambda: "acme/early" in cluster.routed(REGION))


def test_a_group_serves_by_its_leader_alone(cluster: Cluster) -> None:
    installed(cluster).apply(model("solid"))
    found = made(cluster, "solid")
    leader, worker = make_group(cluster.api, found)
    eventually(lambda: serving(cluster, "solid") == {leader})
    assert told(cluster, "solid", "WorkloadReady").startswith("False"), (
        "the group counts once its LeaderWorkerSet says so"
    )
    tell(cluster.api, found, ready=1)
    cluster.ready("solid", NAMESPACE)
    assert serving(cluster, "solid") == {leader}, f"{worker} takes no calls"
    (row,) = cluster.model("solid", NAMESPACE)["status"]["regions"]
    assert [(pool["replicas"], pool["ready"], pool["leaderWorkerSet"]) for pool in row["pools"]] == [
        (1, 1, found["metadata"]["name"])
    ]
    assert row["rollout"]["phase"] == "Complete"


def test_a_worker_that_dies_is_told_of_by_name_and_words(cluster: Cluster) -> None:
    installed(cluster).apply(model("failing"))
    found = made(cluster, "failing")
    _, worker = make_group(cluster.api, found)
    tell(cluster.api, found, ready=0)

    def says() -> bool:
        said = told(cluster, "failing", "WorkloadReady")
        assert said.startswith(f"False CrashLoop: Pod `{worker}`: container `engine` ended with exit code 1"), said
        assert "CUDA error: an illegal memory access" in said
        return True

    eventually(says)


def test_what_serves_goes_only_once_the_other_kind_serves(cluster: Cluster) -> None:
    installed(cluster).apply(model("moving", nodes=1))
    cluster.ready("moving", NAMESPACE)
    (single,) = serving(cluster, "moving")
    cluster.apply(model("moving", nodes=2))
    found = made(cluster, "moving")
    leader, worker = make_group(cluster.api, found)
    eventually(lambda: serving(cluster, "moving") == {single, leader})
    eventually(lambda: told(cluster, "moving", "WorkloadReady").startswith("False RolloutInProgress"))
    assert len(cluster.of("moving", NAMESPACE, "Deployment")) == 1, "it serves until the group does"
    tell(cluster.api, found, ready=1)
    eventually(lambda: not cluster.of("moving", NAMESPACE, "Deployment"))
    cluster.ready("moving", NAMESPACE)
    cluster.apply(model("moving", nodes=1))
    eventually(lambda: gone(cluster, found))
    for name in (leader, worker):
        cluster.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
    cluster.ready("moving", NAMESPACE)
    assert len(serving(cluster, "moving") - {leader}) == 1
