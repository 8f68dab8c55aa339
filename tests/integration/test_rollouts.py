"""Rollouts on a real control plane with its scheduler and controllers, where GPUs are scarce."""

import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import running, running_at, waiting
from tests.integration.operators import OperatorProcess, children, condition, path
from tomoul.plan.gateway import METRICS_PORT

SYSTEM, NAMESPACE = "tomoul-system", "models"
Object = dict[str, Any]


def status(pod: Object) -> Mapping[str, Any] | None:
    """Pods run, except those whose image is `…:broken`; gateways at the address where a test may give their metrics."""
    labels = pod["metadata"].get("labels", {})
    if labels.get("app.kubernetes.io/component") == "gateway":
        return running_at(loopback(labels["tomoul.ai/region"]))(pod)
    image = pod["spec"]["containers"][0]["image"]
    return waiting("ImagePullBackOff", "no such image")(pod) if image.endswith(":broken") else running(pod)


class Rollouts:
    """An operator, and regions of one node with a few GPUs each."""

    def __init__(self, control_plane: ControlPlane, operator: OperatorProcess) -> None:
        self.control_plane = control_plane
        self.api = control_plane.api
        self.operator = operator

    def region(self, gpus: int) -> str:
        """A region of its own, whose one node has that many GPUs."""
        name = f"r-{uuid.uuid4().hex[:8]}"
        labels = {"topology.kubernetes.io/region": name}
        self.control_plane.add_node(f"gpu-{name}", labels, {"nvidia.com/gpu": str(gpus)})
        placement = {"nodeSelector": labels, "accelerators": [{"name": "nvidia-l4"}]}
        spec = {"placement": placement}
        metadata = {"name": name}
        item = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": metadata, "spec": spec}
        self.api.apply(path("Region", name), item)
        return name

    def apply(self, region: str, image: str, replicas: int = 2, **rollout: Any) -> Object:
        """A model of that name as its region, with one GPU per replica."""
        documents = yaml.safe_load_all((REPOSITORY / "examples" / "tiny-chat.yaml").read_text())
        item: Object = next(document for document in documents if document["kind"] == "ModelDeployment")
        item["metadata"] = {"name": region, "namespace": NAMESPACE}
        item["spec"] |= {
            "model": {"id": f"acme/{region}"},
            "engine": {**item["spec"]["engine"], "image": f"registry.example.com/engine:{image}"},
            "cache": {"noStore": "Refuse"},
            "routing": {},
            "regions": [{"name": region, "replicas": replicas}],
            "resources": {"accelerator": "nvidia-l4", "count": 1},
            "rollout": {"drainSeconds": 1, **rollout},
        }
        return self.api.apply(path("ModelDeployment", region, NAMESPACE), item)

    def pods(self, region: str, image: str = "") -> list[Object]:
        """Engine pods that are not on their way out."""
        selector = f"tomoul.ai/region={region},app.kubernetes.io/component=engine"
        items = self.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=selector)["items"]
        found = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in found if pod["spec"]["containers"][0]["image"].endswith(f":{image}" if image else "")]

    def ready(self, region: str, image: str) -> set[str]:
        """uids of the pods with that image that are ready."""
        return {
            pod["metadata"]["uid"]
            for pod in self.pods(region, image)
            for entry in pod.get("status", {}).get("conditions", ())
            if entry["type"] == "Ready" and entry["status"] == "True"
        }

    def rollout(self, region: str) -> Object:
        (row,) = self.api.get(path("ModelDeployment", region, NAMESPACE)).get("status", {}).get("regions") or [{}]
        return dict(row.get("rollout", {}))

    def workload(self, region: str) -> Object:
        item = self.api.get(path("ModelDeployment", region, NAMESPACE))
        return condition(item, "WorkloadReady", region)

    def completed(self, region: str, image: str, replicas: int = 2) -> set[str]:
        """uids of the pods once all of them have that image."""

        def check() -> set[str]:
            assert self.rollout(region).get("phase") == "Complete", self.rollout(region)
            found = self.ready(region, image)
            assert len(found) == len(self.pods(region)) == replicas
            return found

        return eventually(check, 60)

    def deployment(self, region: str) -> Object:
        (found,) = children(self.api, f"tomoul.ai/region={region},app.kubernetes.io/component=engine", "Deployment")
        return found


@pytest.fixture(scope="module")
def rollouts(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollouts]:
    for namespace in (SYSTEM, NAMESPACE):
        control_plane.add_namespace(namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
    control_plane.api.apply(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/tomoul-gateway", account)
    with control_plane.run_pods(status=status):
        log = tmp_path_factory.mktemp("operator") / "operator.log"
        operator = OperatorProcess(control_plane.kubeconfig, log, "--gateway-replicas=1")
        try:
            eventually(operator.leads, 60)
            yield Rollouts(control_plane, operator)
        finally:
            ended, text = operator.stop(), log.read_text()
        assert ended == 0, text
        assert "this is a bug" not in text, text


def test_where_a_replica_fits_auto_surges_and_never_has_fewer_pods_ready_than_wanted(rollouts: Rollouts) -> None:
    region = rollouts.region(gpus=3)
    rollouts.apply(region, "1")
    first = rollouts.completed(region, "1")
    rollouts.apply(region, "2")
    eventually(lambda: rollouts.rollout(region).get("strategy") == "Surge")
    lowest = 2

    def over() -> bool:
        nonlocal lowest
        pods = {pod["metadata"]["uid"]: pod for pod in rollouts.pods(region)}
        ready = [pod for pod in pods.values() if pod.get("status", {}).get("phase") == "Running"]
        lowest = min(lowest, len(ready))
        return rollouts.rollout(region)["phase"] == "Complete" and not first & set(pods)

    eventually(over, 60)
    assert lowest == 2
    told = rollouts.rollout(region)
    assert (told["strategy"], told["reason"], told["updated"]) == ("Surge", "ReplicaFits", 2)
    assert f"gpu-{region}" in told["message"]


def test_where_no_replica_fits_auto_replaces_one_pod_at_a_time(rollouts: Rollouts) -> None:
    region = rollouts.region(gpus=2)
    rollouts.apply(region, "1")
    first = rollouts.completed(region, "1")
    rollouts.apply(region, "2")
    second = rollouts.completed(region, "2")
    assert not first & second
    told = rollouts.rollout(region)
    assert (told["strategy"], told["reason"]) == ("Replace", "NoRoom")
    assert "0 free of 1 `nvidia.com/gpu`" in told["message"]


def test_gpus_that_others_hold_unseen_turn_a_surge_into_a_replacement(rollouts: Rollouts) -> None:
    region = rollouts.region(gpus=3)
    container = {"name": "c", "image": "other", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"other-{region}"},
        "spec": {"containers": [container], "nodeSelector": {"topology.kubernetes.io/region": region}},
    }
    rollouts.api.apply(f"/api/v1/namespaces/default/pods/other-{region}", other)
    rollouts.apply(region, "1")
    rollouts.completed(region, "1")
    rollouts.apply(region, "2")
    rollouts.completed(region, "2")
    told = rollouts.rollout(region)
    assert (told["strategy"], told["reason"]) == ("Replace", "SurgeUnschedulable"), told
    assert "Insufficient nvidia.com/gpu" in told["message"]


def test_the_api_server_sends_the_operator_no_objects_but_its_own(rollouts: Rollouts) -> None:
    region = rollouts.region(gpus=1)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": f"other-{region}"}}
    rollouts.api.apply(f"/api/v1/namespaces/default/serviceaccounts/other-{region}", account)
    rollouts.apply(region, "1", replicas=1)
    rollouts.completed(region, "1", 1)
    made = len(children(rollouts.api, "app.kubernetes.io/component", "ServiceAccount"))
    assert rollouts.operator.metrics()['tomoul_objects{kind="ServiceAccount"}'] == made


def test_a_broken_revision_passes_its_deadline_while_the_old_one_serves_and_going_back_touches_no_serving_pod(
    rollouts: Rollouts,
) -> None:
    # Both at once, since each takes as long as the shortest deadline that there is.
    cases = {rollouts.region(gpus=3): ("Surge", 2), rollouts.region(gpus=2): ("Replace", 1)}
    for region in cases:
        rollouts.apply(region, "1", deadlineSeconds=10)
    first = {region: rollouts.completed(region, "1") for region in cases}
    for region in cases:
        rollouts.apply(region, "broken", deadlineSeconds=10)
    for region, (strategy, left) in cases.items():
        eventually(lambda region=region: "Deadline" in rollouts.workload(region)["reason"], 60)
        told = rollouts.workload(region)
        assert (told["status"], told["reason"]) == ("False", "RolloutDeadlineExceeded")
        assert "no such image" in told["message"]
        assert (rollouts.rollout(region)["phase"], rollouts.rollout(region)["strategy"]) == ("Stalled", strategy)
        serving = rollouts.ready(region, "1")
        assert serving <= first[region]
        assert len(serving) == left, "nothing else is replaced while the new pod is not ready"
        rollouts.apply(region, "1", deadlineSeconds=10)
        assert serving <= rollouts.completed(region, "1")


def test_going_back_in_the_middle_of_a_rollout_leaves_the_pods_that_serve(rollouts: Rollouts) -> None:
    region = rollouts.region(gpus=4)
    rollouts.apply(region, "1", replicas=4)
    first = rollouts.completed(region, "1", 4)
    rollouts.apply(region, "broken", replicas=4)
    eventually(lambda: len(rollouts.ready(region, "1")) == 3 and rollouts.pods(region, "broken"))
    serving = rollouts.ready(region, "1")
    rollouts.apply(region, "1", replicas=4)
    after = rollouts.completed(region, "1", 4)
    assert serving <= after
    assert serving < first


def test_a_strategy_holds_while_room_comes_and_goes(rollouts: Rollouts) -> None:
    region = rollouts.region(gpus=2)
    rollouts.apply(region, "1")
    rollouts.completed(region, "1")
    rollouts.apply(region, "broken")
    eventually(lambda: rollouts.pods(region, "broken"))
    before = rollouts.deployment(region)["metadata"]["generation"]
    rollouts.control_plane.add_node(
        f"more-{region}", {"topology.kubernetes.io/region": region}, {"nvidia.com/gpu": "8"}
    )
    # Something that the operator must have looked at since: a change of the model that makes no new revision.
    rollouts.apply(region, "broken", replicas=3)
    eventually(lambda: len(rollouts.pods(region)) == 3)
    told, live = rollouts.rollout(region), rollouts.deployment(region)
    assert (told["strategy"], told["reason"]) == ("Replace", "NoRoom")
    assert live["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert live["metadata"]["generation"] == before + 1


class GatewayMetrics:
    """The metrics of a region's only gateway, whose pod has a loopback address of its own."""

    def __init__(self, address: str, region: str) -> None:
        metrics = self
        self.region = region
        self.counts: dict[tuple[str, int], int] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = metrics.text().encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer((address, METRICS_PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def text(self) -> str:
        """As Envoy writes it."""
        lines = ["# TYPE envoy_tomoul_trial_calls_total counter"]
        for (trial, status), count in self.counts.items():
            answered_by = "canary" if trial == "canary" else ""
            labels = f'model="acme/{self.region}",trial="{trial}",answered_by="{answered_by}",status="{status}",code=""'
            lines.append(f"envoy_tomoul_trial_calls_total{{{labels}}} {count}")
        return "\n".join(lines) + "\n"


@pytest.fixture
def canaries(rollouts: Rollouts) -> Iterator[tuple[GatewayMetrics, GatewayMetrics]]:
    """Two regions whose gateways can be read."""
    made = []
    for _ in range(2):
        region = rollouts.region(gpus=3)
        made.append(GatewayMetrics(loopback(region), region))
    yield made[0], made[1]
    for metrics in made:
        metrics.server.shutdown()
        metrics.server.server_close()


def loopback(region: str) -> str:
    """An address that no other region has."""
    return f"127.{int(region[2:4], 16)}.{int(region[4:6], 16)}.{int(region[6:8], 16) or 1}"


def test_a_canary_is_promoted_or_rolled_back_by_what_gateways_count_and_the_old_pods_stay_untouched_meanwhile(
    rollouts: Rollouts, canaries: tuple[GatewayMetrics, GatewayMetrics]
) -> None:
    canary = {"weight": 10, "durationSeconds": 10, "minCalls": 10}
    regions = [metrics.region for metrics in canaries]
    for region in regions:
        rollouts.apply(region, "1", canary=canary)
    first = {region: rollouts.completed(region, "1") for region in regions}
    for region in regions:
        rollouts.apply(region, "2", canary=canary)
    for region in regions:
        eventually(lambda region=region: canary_of(rollouts, region).get("ready"))
        assert len(rollouts.ready(region, "2")) == 1
        assert rollouts.ready(region, "1") == first[region]
        eventually(lambda region=region: routed(rollouts, region) == {"default": None, "canary": 10})
    good, bad = canaries
    # Counting begins with what the gateways say first.
    eventually(lambda: all("more calls" in canary_of(rollouts, region).get("message", "") for region in regions), 60)
    good.counts = {("canary", 200): 50, ("stable", 200): 450}
    bad.counts = {("canary", 200): 40, ("canary", 500): 10, ("stable", 200): 450}
    eventually(lambda: rollouts.rollout(bad.region)["phase"] == "RolledBack", 60)
    told = rollouts.workload(bad.region)
    assert (told["status"], told["reason"]) == ("False", "CanaryRolledBack")
    assert "10 of its 50 calls failed" in told["message"]
    eventually(lambda: not rollouts.pods(bad.region, "2"))
    assert rollouts.ready(bad.region, "1") == first[bad.region]
    eventually(lambda: routed(rollouts, bad.region) == {"default": None})
    second = rollouts.completed(good.region, "2")
    assert not second & first[good.region]
    assert rollouts.rollout(good.region)["canary"]["verdict"] == "Promoted"
    eventually(lambda: routed(rollouts, good.region) == {"default": None})
    assert len(children(rollouts.api, f"tomoul.ai/region={good.region}", "Service")) == 2, "its own and the gateway's"
    rollouts.apply(bad.region, "1", canary=canary)
    assert rollouts.completed(bad.region, "1") == first[bad.region]


def canary_of(rollouts: Rollouts, region: str) -> Object:
    """What the status says of the region's canary."""
    return dict(rollouts.rollout(region).get("canary", {}))


def routed(rollouts: Rollouts, region: str) -> dict[str, int | None]:
    """Weights by the name of the pool."""
    (route,) = [
        route
        for route in rollouts.api.get(path("RoutingTable", region))["spec"]["models"]
        if route["id"] == f"acme/{region}"
    ]
    return {pool["name"]: pool.get("weight") for pool in route["pools"]}
