"""What statuses say where things go wrong, or only seem to be done, on a real control plane."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tests.controlplane.kubelet import running, starting
from tests.integration.cluster import Cluster, Object, model, running_cluster
from tests.integration.operators import condition, path
from tomoul.api.meta import Condition
from tomoul.controller.recorder import About, Told, counted, event_manifest
from tomoul.kube.resources import MODEL_DEPLOYMENTS
from tomoul.plan.events import failed
from tomoul.plan.world import Key

NAMESPACE = "models"
LOADS = "LOADS"
"""Environment variable of the engines that take their time."""
starts = starting()


def pods(pod: Object) -> Mapping[str, Any]:
    """Engines with that variable load for as long as a test lasts; all else runs."""
    variables = [entry["name"] for entry in pod["spec"]["containers"][0].get("env", ())]
    return (starts(pod) or {}) if LOADS in variables else running(pod)


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator"), pods) as started:
        started.regions_ready()
        yield started


def one_region(name: str, **spec: Any) -> Object:
    return model(name, NAMESPACE, regions=[{"name": "eu-west", "replicas": 1}], **spec)


def test_a_revision_that_loads_beside_the_only_pod_of_the_former_one_is_not_ready(cluster: Cluster) -> None:
    item = one_region("slow", rollout={"strategy": "Surge"})
    cluster.apply(item)
    cluster.ready("slow", NAMESPACE)
    engine = {**item["spec"]["engine"], "env": [{"name": LOADS, "value": "yes"}]}
    cluster.apply({**item, "spec": {**item["spec"], "engine": engine}})

    def surged() -> bool:
        (deployment,) = cluster.of("slow", NAMESPACE, "Deployment")
        told = deployment["status"]
        return (told.get("updatedReplicas"), told["replicas"], told.get("readyReplicas")) == (1, 2, 1)

    def said() -> None:
        cluster.acknowledge_all()
        found = cluster.model("slow", NAMESPACE)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        told = condition(found, "WorkloadReady", "eu-west")
        assert (told["status"], told["reason"]) == ("False", "RolloutInProgress"), told
        assert "1 of 1 replicas" in told["message"]
        assert "(0 of the newest revision); pod" in told["message"]
        assert condition(found, "Ready")["status"] == "False"
        assert condition(found, "ModelReady")["status"] == "True"

    eventually(surged)
    eventually(lambda: [said()])


def test_tables_that_the_api_server_refuses_are_told_by_regions_and_models_and_come_once_they_are_taken(
    cluster: Cluster,
) -> None:
    """One Region more than a table may name."""
    names = [f"r-{number}" for number in range(63)]
    for name in names:
        region = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": name}, "spec": {}}
        cluster.apply(region)

    def withheld() -> None:
        told = condition(cluster.get("Region", "eu-west"), "Ready")
        assert (told["status"], told["reason"]) == ("False", "TableWithheld"), told
        assert "spec.knownRegions: Too many: 65: must have at most 64 items" in told["message"]

    eventually(lambda: [withheld()])
    cluster.apply(one_region("late"))

    def waits() -> None:
        told = condition(cluster.model("late", NAMESPACE), "RoutesProgrammed", "eu-west")
        assert told["reason"] == "WaitingForTable", told
        assert "must have at most 64 items" in told["message"]

    eventually(lambda: [waits()])
    for name in names:
        cluster.api.delete(path("Region", name))
    cluster.ready("late", NAMESPACE)
    eventually(lambda: condition(cluster.get("Region", "eu-west"), "Ready")["status"] == "True")


def test_what_is_being_deleted_is_not_ready_any_more_for_as_long_as_a_finalizer_keeps_it(cluster: Cluster) -> None:
    item = one_region("kept")
    item["metadata"]["finalizers"] = ["example.com/keep"]
    tenant = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "kept", "namespace": NAMESPACE, "finalizers": ["example.com/keep"]},
        "spec": {"apiKeys": {"secretName": "kept"}},
    }
    cluster.apply(item)
    cluster.apply(tenant)
    cluster.ready("kept", NAMESPACE)
    eventually(lambda: condition(cluster.get("Tenant", "kept", NAMESPACE), "Enforced"))
    for kind in ("ModelDeployment", "Tenant"):
        cluster.api.delete(path(kind, "kept", NAMESPACE))

    def said() -> None:
        found = cluster.model("kept", NAMESPACE)
        for told in (condition(found, "Ready"), condition(found, "Ready", "eu-west")):
            assert (told["status"], told["reason"]) == ("False", "BeingDeleted"), told
            assert told["observedGeneration"] == found["metadata"]["generation"]
        assert condition(found, "RoutesProgrammed", "eu-west")["reason"] == "BeingDeleted"
        assert (found["status"]["readyRegions"], found["status"]["reason"]) == ("0/1", "BeingDeleted")
        found = cluster.get("Tenant", "kept", NAMESPACE)
        assert condition(found, "Enforced")["reason"] == found["status"]["reason"] == "BeingDeleted"

    try:
        eventually(lambda: [said()])
        eventually(lambda: f"{NAMESPACE}/kept" not in cluster.routed("eu-west"))
    finally:
        for kind in ("ModelDeployment", "Tenant"):
            cluster.api.patch(path(kind, "kept", NAMESPACE), {"metadata": {"finalizers": []}})


@pytest.mark.parametrize("message", ["x" * 4000, "×" * 1000])
def test_the_api_server_takes_the_longest_note_of_an_event_told_once_or_again(cluster: Cluster, message: str) -> None:
    told = Condition(type="Ready", status="False", reason="CrashLoop", message=message)
    about = About(MODEL_DEPLOYMENTS, Key(NAMESPACE, "slow"), "uid")
    again = Told(0.0, datetime.now(UTC), again=12)
    for number, note in enumerate((failed("eu-west", told).note, counted(failed("eu-west", told).note, again))):
        event = failed("eu-west", told)._replace(note=note, reason=f"CrashLoop{number}")
        manifest = event_manifest(about, event, datetime.now(UTC), "test")
        made = cluster.api.create(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events", manifest)
        assert made["note"] == note
