"""A control plane with two regions, and an operator that keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import Kubelet, Status, running
from tests.integration.operators import COLLECTIONS, OperatorProcess, children, condition, path

SYSTEM = "tomoul-system"
REGIONS = ("eu-west", "us-east")
Object = dict[str, Any]


def example(name: str) -> Object:
    documents = yaml.safe_load_all((REPOSITORY / "examples" / f"{name}.yaml").read_text())
    return next(document for document in documents if document["kind"] == "ModelDeployment")


def model(name: str, namespace: str, **spec: Any) -> Object:
    """A ModelDeployment like the example that has two regions, with another id."""
    item = example("tiny-chat")
    item["metadata"] = {"name": name, "namespace": namespace}
    item["spec"]["model"]["id"] = f"{namespace}/{name}"
    item["spec"]["cache"]["noStore"] = "Refuse"
    item["spec"]["routing"] = {}
    item["spec"]["regions"] = [{"name": "eu-west", "replicas": 1}, {"name": "us-east", "replicas": 1}]
    item["spec"]["resources"] = {"cpu": "100m", "memory": "256Mi"}
    item["spec"].update(spec)
    return item


class Cluster:
    """A control plane with two regions, the examples, and an operator that runs."""

    def __init__(self, control_plane: ControlPlane, kubelet: Kubelet, folder: Path, *flags: str) -> None:
        self.control_plane = control_plane
        self.kubelet = kubelet
        self.api = control_plane.api
        self.folder = folder
        self._flags = flags
        self.replicas = 0
        self.leader = self.start()

    def start(self, *more: str) -> OperatorProcess:
        """Another replica, perhaps with more flags."""
        self.replicas += 1
        log = self.folder / f"operator-{self.replicas}.log"
        flags = (f"--host-regions={','.join(REGIONS)}", "--gateway-replicas=2", "--resync-seconds=5")
        return OperatorProcess(self.control_plane.kubeconfig, log, *flags, *self._flags, *more)

    def apply(self, item: Object) -> Object:
        metadata = item["metadata"]
        return self.api.apply(path(item["kind"], metadata["name"], metadata.get("namespace", "")), item)

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        return self.api.get(path(kind, name, namespace))

    def model(self, name: str, namespace: str) -> Object:
        return self.get("ModelDeployment", name, namespace)

    def of(self, name: str, namespace: str, *kinds: str) -> list[Object]:
        found = children(self.api, f"tomoul.ai/model-deployment={name}", *kinds)
        return [item for item in found if item["metadata"]["namespace"] == namespace]

    def gateway_pods(self, region: str) -> list[str]:
        selector = f"app.kubernetes.io/component=gateway,tomoul.ai/region={region}"
        pods = self.api.get(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector=selector)["items"]
        return sorted(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])

    def acknowledge(self, region: str, pods: list[str]) -> None:
        """What the pods' agents would write."""
        table = self.get("RoutingTable", region)
        for pod in pods:
            entry = {"name": pod, "acceptedGeneration": table["metadata"]["generation"]}
            status = {
                "apiVersion": table["apiVersion"],
                "kind": "RoutingTable",
                "metadata": {"name": region},
                "status": {"gateways": [entry]},
            }
            self.api.apply(f"{path('RoutingTable', region)}/status", status, f"tomoul-agent-{pod}")

    def acknowledge_all(self) -> bool:
        for region in REGIONS:
            self.acknowledge(region, self.gateway_pods(region))
        return True

    def routed(self, region: str) -> set[str]:
        return {route["id"] for route in self.get("RoutingTable", region)["spec"].get("models", ())}

    def regions_ready(self) -> None:
        """Wait until all Regions are Ready."""
        for region in REGIONS:
            eventually(lambda region=region: condition(self.get("Region", region), "Ready")["status"] == "True")

    def ready(self, name: str, namespace: str) -> Object:
        """The model once it is Ready everywhere, while gateways acknowledge what they are told."""

        def check() -> Object:
            self.acknowledge_all()
            item = self.model(name, namespace)
            assert condition(item, "Ready")["status"] == "True", item.get("status")
            return item

        return eventually(check)


@contextmanager
def running_cluster(
    control_plane: ControlPlane, folder: Path, status: Status = running, *flags: str
) -> Iterator[Cluster]:
    """The examples' Regions with a node each, pods with `status`, and an operator that leads; logs go to `folder`."""
    api = control_plane.api
    for namespace in (SYSTEM, "models"):
        if api.gone(f"/api/v1/namespaces/{namespace}"):
            control_plane.add_namespace(namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
    api.apply(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/tomoul-gateway", account)
    for region in REGIONS:
        labels = {"topology.kubernetes.io/region": region}
        control_plane.add_node(f"gpu-{region}", labels, {"nvidia.com/gpu": "8"})
    for region in yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text()):
        api.apply(path("Region", region["metadata"]["name"]), region)
    with control_plane.run_pods(status=status) as kubelet:
        started = Cluster(control_plane, kubelet, folder, *flags)
        try:
            eventually(started.leader.leads, 60)
            yield started
        finally:
            code, log = started.leader.stop(), started.leader.log.read_text()
        assert code == 0, log
        assert "this is a bug" not in log, log
        for kind in ("ModelDeployment", "Tenant", "Region"):
            # Once it is served again, where a test has changed its schema.
            for item in eventually(lambda kind=kind: api.get(COLLECTIONS[kind]))["items"]:
                api.remove(path(kind, item["metadata"]["name"], item["metadata"].get("namespace", "")))
