"""Scaling on a real control plane: its HorizontalPodAutoscalers, fed by the operator's external metrics."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane import keda
from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import running, running_at
from tests.controlplane.process import free_port
from tests.integration.operators import OperatorProcess, condition, path, versions
from tests.integration.stats_server import StatsServer
from tomoul.plan.naming import pool_name

SYSTEM = "tomoul-system"
REGION = "eu-west"
SERVICE = "tomoul-external-metrics"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
EXTERNAL_METRICS = f"{API_SERVICES}/v1beta1.external.metrics.k8s.io"
KEDA = ("scaledobjects", "keda.sh/v1alpha1")
Object = dict[str, Any]


def documented() -> Object:
    """The example of docs/scaling.md."""
    text = (REPOSITORY / "docs" / "scaling.md").read_text()
    example: Object = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    return example


def scaled(name: str, namespace: str, **target: Any) -> Object:
    """A model like the documented one, with another entry for the region."""
    item = documented()
    item["metadata"] = {"name": name, "namespace": namespace}
    item["spec"]["model"]["id"] = f"{namespace}/{name}"
    item["spec"]["regions"] = [{"name": REGION, **target}]
    return item


def scaling(least: int, most: int, target: int = 8, seconds: int = 10) -> Object:
    return {"minReplicas": least, "maxReplicas": most, "targetInFlight": target, "scaleDownSeconds": seconds}


class Cluster:
    """A control plane, one region whose gateway tells what a test says, and an operator."""

    def __init__(self, control_plane: ControlPlane, stats: StatsServer, folder: Path) -> None:
        self.control_plane, self.api, self.stats = control_plane, control_plane.api, stats
        self.folder = folder
        self.port = free_port()
        self.operator = self._start()

    def restart(self) -> None:
        """Another operator in the place of the one that runs."""
        log = self.operator.log.read_text()
        assert self.operator.stop() == 0, log
        assert "this is a bug" not in log, log
        self.operator = self._start()
        eventually(self.operator.leads, 60)

    def _start(self) -> OperatorProcess:
        log = self.folder / f"operator-{len(list(self.folder.iterdir()))}.log"
        return OperatorProcess(
            self.control_plane.kubeconfig, log, "--gateway-replicas=1", "--resync-seconds=2",
            f"--external-metrics-service={SERVICE}", f"--external-metrics-port={self.port}", "--sample-seconds=0.2",
            "--refused-seconds=5",
        )  # fmt: skip

    def apply(self, item: Object) -> None:
        self.api.apply(path("ModelDeployment", item["metadata"]["name"], item["metadata"]["namespace"]), item)

    def deployment(self, item: Object, pool: str = "default") -> Object:
        return self.api.get(path("Deployment", *self._key(item, pool)))

    def replicas(self, item: Object, pool: str = "default") -> int:
        return int(self.deployment(item, pool)["spec"]["replicas"])

    def autoscaler(self, item: Object, kind: str = "horizontalpodautoscalers", group: str = "autoscaling/v2") -> Object:
        name, namespace = self._key(item)
        return self.api.get(f"/apis/{group}/namespaces/{namespace}/{kind}/{name}")

    def calls(self, item: Object, count: int, pool: str = "default") -> None:
        """What the gateway has in flight from now on."""
        self.stats.in_flight[self._cluster(item, pool)] = count

    def refuse(self, item: Object, pool: str = "default") -> None:
        """The gateway has just refused a call."""
        cluster = self._cluster(item, pool)
        self.stats.refused[cluster] = self.stats.refused.get(cluster, 0) + 1

    def told(self, item: Object, kind: str = "ScalingActive") -> str:
        """A condition as `True Reason: message`."""
        metadata = item["metadata"]
        found = condition(self.api.get(path("ModelDeployment", metadata["name"], metadata["namespace"])), kind, REGION)
        return f"{found['status']} {found['reason']}: {found.get('message', '')}"

    def _key(self, item: Object, pool: str = "default") -> tuple[str, str]:
        return pool_name(item["metadata"]["name"], REGION, pool), item["metadata"]["namespace"]

    def _cluster(self, item: Object, pool: str) -> str:
        name, namespace = self._key(item, pool)
        return f"pool/{namespace}/{name}"


def says(cluster: Cluster, item: Object, *words: str, kind: str = "ScalingActive") -> bool:
    told = cluster.told(item, kind)
    assert all(word in told for word in words), told
    return True


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    api = control_plane.api
    for namespace in (SYSTEM, "models"):
        control_plane.add_namespace(namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
    api.apply(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/tomoul-gateway", account)
    region = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": REGION}, "spec": {}}
    api.apply(path("Region", REGION), region)
    control_plane.add_node("node")
    # No kube-proxy runs here: the API server takes the way that it takes to a Service outside the cluster.
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE}}
    outside = {"type": "ExternalName", "externalName": "localhost"}
    api.apply(f"/api/v1/namespaces/{SYSTEM}/services/{SERVICE}", {**service, "spec": outside})
    with StatsServer() as stats:

        def status(pod: Object) -> Mapping[str, Any]:
            gateway = pod["metadata"]["labels"].get("app.kubernetes.io/component") == "gateway"
            return (running_at(stats.ip) if gateway else running)(pod)

        with control_plane.run_pods(status=status):
            started = Cluster(control_plane, stats, tmp_path_factory.mktemp("scaling"))
            try:
                eventually(started.operator.leads, 60)
                yield started
            finally:
                ended, log = started.operator.stop(), started.operator.log.read_text()
            assert ended == 0, log
            assert "this is a bug" not in log, log


@pytest.fixture(scope="module")
def metrics(cluster: Cluster) -> Cluster:
    """The cluster once the operator answers for external metrics, as the chart has it."""
    cluster.api.apply(
        EXTERNAL_METRICS,
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"namespace": SYSTEM, "name": SERVICE, "port": cluster.port},
            },
        },
    )

    def available() -> bool:
        return condition(cluster.api.get(EXTERNAL_METRICS), "Available")["status"] == "True"

    eventually(available, 60)
    return cluster


def test_without_anything_that_serves_metrics_the_status_says_so_and_what_to_do(
    cluster: Cluster, namespace: str
) -> None:
    item = scaled("lonely", namespace, scaling=scaling(1, 3))
    cluster.apply(item)
    eventually(lambda: says(cluster, item, "False AutoscalerMissing", "stays at 1 of 1 to 3", "docs/scaling.md"))


def test_the_documented_example_follows_its_calls_to_its_maximum_and_to_none_until_it_is_called(
    metrics: Cluster,
) -> None:
    item = documented()
    item["spec"]["regions"][0]["scaling"]["scaleDownSeconds"] = 10
    metrics.calls(item, 20)
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item) == 3)
    eventually(lambda: says(metrics, item, "True ScalingActive", "3 of 0 to 4"))
    metrics.calls(item, 200)
    eventually(lambda: metrics.replicas(item) == 4)
    eventually(lambda: says(metrics, item, "True ScalingActive", "and its calls ask for more"))
    metrics.calls(item, 0)
    eventually(lambda: metrics.replicas(item) == 0, 60)
    eventually(lambda: says(metrics, item, "True ScaledToZero"))
    eventually(lambda: says(metrics, item, "True ScaledToZero", kind="WorkloadReady"))
    metrics.refuse(item)
    eventually(lambda: metrics.replicas(item) == 1)


def test_replicas_stay_as_they_are_while_a_gateway_does_not_tell_its_calls(metrics: Cluster, namespace: str) -> None:
    item = scaled("blind", namespace, scaling=scaling(0, 5))
    metrics.calls(item, 16)
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item) == 2)
    metrics.stats.broken = True
    try:
        eventually(lambda: says(metrics, item, "False MetricsUnavailable", "stays at 2", "not all live gateways"), 90)
        assert metrics.replicas(item) == 2
    finally:
        metrics.stats.broken = False
    eventually(lambda: says(metrics, item, "True ScalingActive"))


def test_a_model_without_replicas_that_no_call_can_wake_says_so_until_its_gateways_tell_their_calls(
    metrics: Cluster, namespace: str
) -> None:
    item = scaled("deaf", namespace, scaling=scaling(0, 5))
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item) == 0, 60)
    eventually(lambda: says(metrics, item, "True ScaledToZero", kind="WorkloadReady"))
    metrics.stats.broken = True
    try:
        for kind in ("WorkloadReady", "ScalingActive"):
            words = ("False MetricsUnavailable", "does not tell its calls")
            eventually(lambda kind=kind, words=words: says(metrics, item, *words, kind=kind), 60)
    finally:
        metrics.stats.broken = False
    eventually(lambda: says(metrics, item, "True ScaledToZero", kind="WorkloadReady"), 60)


def test_a_pool_for_no_store_calls_scales_by_its_own(metrics: Cluster, namespace: str) -> None:
    item = scaled("two", namespace, replicas=1, noStoreScaling=scaling(0, 2, seconds=3600))
    item["spec"]["cache"] = {"noStore": "NotStored"}
    metrics.calls(item, 100)
    metrics.calls(item, 9, "no-store")
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item, "no-store") == 2)
    assert metrics.replicas(item) == 1


def test_a_pool_for_no_store_calls_that_has_no_replica_is_woken_by_such_a_call_and_sleeps_again(
    metrics: Cluster, namespace: str
) -> None:
    item = scaled("asleep", namespace, replicas=1, noStoreScaling=scaling(0, 2))
    item["spec"]["cache"] = {"noStore": "NotStored"}
    for pool in ("default", "no-store"):
        metrics.calls(item, 0, pool)
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item, "no-store") == 0, 60)
    policy = "CachePolicyEnforced"
    eventually(lambda: says(metrics, item, "True Enforced", "next `no-store` call starts a replica", kind=policy))
    eventually(lambda: says(metrics, item, "True", "1 of 1", kind="WorkloadReady"))
    metrics.refuse(item)
    metrics.refuse(item, "no-store")
    eventually(lambda: metrics.replicas(item, "no-store") == 1)

    def ready() -> bool:
        metrics.refuse(item, "no-store")  # its client comes again until it is answered
        assert metrics.deployment(item, "no-store")["status"].get("readyReplicas") == 1
        return says(metrics, item, "True Enforced", "in a pool without a prompt cache", kind=policy)

    eventually(ready)
    assert "starts a replica" not in metrics.told(item, policy)
    assert metrics.replicas(item) == 1
    eventually(lambda: metrics.replicas(item, "no-store") == 0, 60)


def test_the_way_from_fixed_to_scaled_and_back_changes_no_pods_and_an_unchanged_world_is_left_alone(
    metrics: Cluster, namespace: str
) -> None:
    fixed = scaled("handed", namespace, replicas=3)
    auto = scaled("handed", namespace, scaling=scaling(1, 5, seconds=3600))
    metrics.calls(fixed, 24)
    metrics.apply(fixed)
    pods = f"/api/v1/namespaces/{namespace}/pods"

    def running_pods() -> set[str]:
        found = {pod["metadata"]["uid"] for pod in metrics.api.get(pods)["items"] if pod["status"].get("podIP")}
        return found if len(found) == 3 else set()

    before = eventually(running_pods)
    metrics.apply(auto)
    eventually(lambda: says(metrics, auto, "True ScalingActive", "3 of 1 to 5"))
    eventually(lambda: untouched(metrics), 90, "nothing is written while nothing changes")
    managers = {
        entry["manager"]
        for entry in metrics.deployment(auto)["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
    assert "tomoul-operator" not in managers
    metrics.apply(fixed)
    eventually(lambda: _gone(metrics, fixed))
    assert metrics.replicas(fixed) == 3
    assert running_pods() == before


def untouched(cluster: Cluster) -> bool:
    """Whether two rounds of lists have gone by without a write."""

    def rounds() -> float:
        return cluster.operator.metrics()['tomoul_resyncs_total{kind="HorizontalPodAutoscaler",outcome="done"}']

    began, writes, seen = rounds(), cluster.operator.writes(), versions(cluster.api)
    eventually(lambda: rounds() >= began + 2)
    return (cluster.operator.writes(), versions(cluster.api)) == (writes, seen)


def _gone(cluster: Cluster, item: Object) -> bool:
    name, namespace = pool_name(item["metadata"]["name"], REGION, "default"), item["metadata"]["namespace"]
    return cluster.api.gone(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}")


def test_a_model_that_had_no_replicas_gets_the_least_that_it_may_have(metrics: Cluster, namespace: str) -> None:
    metrics.apply(scaled("asleep", namespace, replicas=0))
    item = scaled("asleep", namespace, scaling=scaling(2, 3))
    eventually(lambda: metrics.replicas(item) == 0)
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item) == 2)


def test_nobody_but_the_api_server_is_answered(metrics: Cluster) -> None:
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("localhost", metrics.port), 10) as plain,
            stranger.wrap_socket(plain) as connection,
        ):
            connection.sendall(b"GET /apis/external.metrics.k8s.io/v1beta1 HTTP/1.0\r\n\r\n")
            answer = connection.recv(100)
    except (ssl.SSLError, ConnectionError):
        answer = b""
    assert answer == b""


def test_keda_takes_over_where_it_is_installed_and_gives_back_when_it_goes(metrics: Cluster, namespace: str) -> None:
    item = scaled("changing", namespace, scaling=scaling(1, 3, seconds=3600))
    metrics.calls(item, 16)
    metrics.apply(item)
    eventually(lambda: metrics.replicas(item) == 2)
    metrics.api.apply(keda.PATH, keda.CRD)
    found = eventually(lambda: metrics.autoscaler(item, *KEDA), 60)
    eventually(lambda: _gone(metrics, item))
    assert (found["spec"]["minReplicaCount"], found["spec"]["maxReplicaCount"]) == (1, 3)
    assert metrics.replicas(item) == 2
    eventually(lambda: says(metrics, item, "Unknown WaitingForAutoscaler"))
    metrics.api.patch(
        f"{_scaled_object(item)}/status",
        {"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no answer"}]}},
    )
    eventually(lambda: says(metrics, item, "False MetricsUnavailable", "its ScaledObject says: no answer"))
    eventually(lambda: _settled(metrics), 60, "what other tests have made is gone")
    metrics.restart()
    item["spec"]["regions"][0]["scaling"]["maxReplicas"] = 4
    metrics.apply(item)

    def changed() -> bool:
        return bool(metrics.autoscaler(item, *KEDA)["spec"]["maxReplicaCount"] == 4)

    eventually(changed)
    written = metrics.operator.writes()['tomoul_api_writes_total{kind="ScaledObject",verb="apply"}']
    assert written == 1, "what is there already is not written again after a restart"
    trigger = found["spec"]["triggers"][0]["metadata"]
    where = trigger["url"].split("/", 3)[3]
    eventually(lambda: metrics.operator.read_json(f"/{where}") == {trigger["valueLocation"]: 16})
    metrics.api.delete(keda.PATH)
    eventually(lambda: metrics.autoscaler(item), 60)
    eventually(lambda: says(metrics, item, "True ScalingActive"), 60)


def _settled(cluster: Cluster) -> bool:
    namespaces = cluster.api.get("/api/v1/namespaces")["items"]
    return all(each["status"]["phase"] == "Active" for each in namespaces)


def _scaled_object(item: Object) -> str:
    name, namespace = pool_name(item["metadata"]["name"], REGION, "default"), item["metadata"]["namespace"]
    return f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}"
