"""The plan's objects before a real API server, with strict validation and Pod Security `restricted`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane import keda, leaderworkersets
from tests.controlplane.api import ApiError, eventually
from tests.controlplane.harness import ControlPlane
from tests.golden import scenarios
from tests.plan.specs import model, region, world
from tomoul.plan.pods import engine_pod

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
PLURALS = {
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "LeaderWorkerSet": "leaderworkersets",
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "RoutingTable": "routingtables",
    "ScaledObject": "scaledobjects",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}


def objects(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in sorted((folder / "out").glob("*.yaml")):
        if not file.name.startswith("statuses"):
            content = yaml.safe_load(file.read_text())
            found += content if isinstance(content, list) else [content]
    return found


def path_of(obj: dict[str, Any]) -> str:
    version, meta = obj["apiVersion"], obj["metadata"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{base}{where}/{PLURALS[obj['kind']]}/{meta['name']}"


@pytest.fixture
def in_namespace(control_plane: ControlPlane) -> Any:
    def prepare(name: str) -> None:
        try:
            control_plane.add_namespace(name, RESTRICTED)
        except ApiError as error:
            if error.status != 409:
                raise
            control_plane.api.patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": RESTRICTED}})

    return prepare


@pytest.fixture(scope="module")
def with_keda(control_plane: ControlPlane) -> Iterator[None]:
    control_plane.api.apply(keda.PATH, keda.CRD)
    eventually(lambda: control_plane.api.get("/apis/keda.sh/v1alpha1/scaledobjects"))
    yield
    control_plane.api.delete(keda.PATH)


@pytest.fixture(scope="module")
def with_leaderworkersets(control_plane: ControlPlane) -> Iterator[None]:
    control_plane.api.apply(leaderworkersets.PATH, leaderworkersets.CRD)
    eventually(lambda: control_plane.api.get(f"{leaderworkersets.SETS}/leaderworkersets"))
    yield
    control_plane.api.delete(leaderworkersets.PATH)


@pytest.fixture(scope="module")
def with_classes(control_plane: ControlPlane) -> Iterator[None]:
    """Those that scenarios name: pods of classes that do not exist are refused."""
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "nvidia"}
    paths = {
        "/apis/scheduling.k8s.io/v1/priorityclasses/inference": priority,
        "/apis/node.k8s.io/v1/runtimeclasses/nvidia": runtime,
    }
    for path, item in paths.items():
        control_plane.api.apply(path, {**item, "metadata": {"name": path.rpartition("/")[2]}})
    yield
    for path in paths:
        control_plane.api.delete(path)


@pytest.mark.usefixtures("with_keda", "with_leaderworkersets", "with_classes")
@pytest.mark.parametrize("folder", scenarios("plan"), ids=lambda folder: folder.name)
def test_the_api_server_takes_every_object_of_a_scenario(
    folder: Path, control_plane: ControlPlane, in_namespace: Any
) -> None:
    found = objects(folder)
    assert found
    for name in sorted({obj["metadata"]["namespace"] for obj in found if "namespace" in obj["metadata"]}):
        in_namespace(name)
    for obj in found:
        answer = control_plane.api.apply(path_of(obj), obj, dryRun="All", fieldValidation="Strict")
        assert answer["metadata"]["name"] == obj["metadata"]["name"]
        if obj["kind"] == "Deployment":
            check_pod(control_plane, obj, obj["spec"]["template"])
        if obj["kind"] == "LeaderWorkerSet":
            check_pod(control_plane, obj, obj["spec"]["leaderWorkerTemplate"]["leaderTemplate"])
            check_pod(control_plane, obj, obj["spec"]["leaderWorkerTemplate"]["workerTemplate"])


def test_a_resource_quota_takes_the_pods_of_a_model_that_is_downloaded_and_says_what_it_needs(
    control_plane: ControlPlane, namespace: str
) -> None:
    hard = {"requests.cpu": "64", "requests.memory": "64Gi", "limits.memory": "64Gi"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}
    path = f"/api/v1/namespaces/{namespace}"
    control_plane.api.apply(f"{path}/resourcequotas/team", quota)
    eventually(lambda: control_plane.api.get(f"{path}/resourcequotas/team").get("status", {}).get("hard"))
    source = {"hf": {"repo": "acme/chat", "revision": "main"}}
    needed = {"cpu": "4", "memory": "16Gi", "accelerator": "nvidia-l4", "count": 1}
    found = model(source=source, resources=needed)
    made = engine_pod(found, region(), "default", world(found).settings)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**made["metadata"], "name": "probe"}}
    spec = {**made["spec"], "serviceAccountName": "default"}
    answer = control_plane.api.create(f"{path}/pods", {**pod, "spec": spec}, dryRun="All")
    assert answer["spec"]["initContainers"][0]["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi"},
        "limits": {"memory": "16Gi"},
    }


def check_pod(control_plane: ControlPlane, owner: dict[str, Any], template: dict[str, Any]) -> None:
    """Pod Security refuses pods, not the objects that would make them."""
    namespace = owner["metadata"]["namespace"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "probe", "namespace": namespace},
        # Its own ServiceAccount does not exist in a dry run.
        "spec": template["spec"] | {"serviceAccountName": "default"},
    }
    path = f"/api/v1/namespaces/{namespace}/pods"
    answer = control_plane.api.create(path, pod, dryRun="All", fieldValidation="Strict")
    assert answer["spec"]["containers"][0]["image"]
    broken = pod | {"spec": pod["spec"] | {"hostNetwork": True}}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api.create(path, broken, dryRun="All")
