"""The platform that is probed: a real control plane, operator, agents and Envoys; engines that tell the truth."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.agent.http_calls import own_address
from tests.controlplane.api import Object, eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import running
from tests.controlplane.process import free_port
from tests.integration.operators import OperatorProcess, condition, path
from tests.prober.gateway_pod import GatewayPod
from tests.prober.pods import COMPONENT, Pods

SYSTEM, NAMESPACE = "tomoul-system", "prober"
REGIONS = ("eu-west", "us-east")
KEYS = {name: f"sk-{name}-".ljust(40, "k") for name in ("acme", "globex")}


def model(name: str, **spec: Any) -> Object:
    """A ModelDeployment in both regions, on an engine that keys its cache by a salt."""
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"id": f"prober/{name}"},
            "source": {"file": {"path": "/models/any"}},
            "engine": {"type": "VLLM", "version": "0.32.0"},
            "resources": {"accelerator": "nvidia-l4", "count": 1, "cpu": "100m", "memory": "64Mi"},
            "cache": {"mode": "Tenant", "noStore": "Isolated"},
            "regions": [{"name": region, "replicas": 1} for region in REGIONS],
            "routing": {"fallback": list(REGIONS)},
            "rollout": {"strategy": "Surge", "drainSeconds": 3},
            **spec,
        },
    }


NOT_STORED = {
    "cache": {"mode": "Tenant", "noStore": "NotStored"},
    "regions": [{"name": region, "replicas": 1, "noStoreReplicas": 1} for region in REGIONS],
}


def tenant(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    spec = {"apiKeys": {"secretName": f"{name}-keys"}, **spec}
    return {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec}


class Platform:
    """Two regions, two tenants and some models."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self.control_plane, self.api, self._folder = control_plane, control_plane.api, folder
        self.ports = {region: free_port() for region in REGIONS}
        self.gateways: dict[str, GatewayPod] = {}
        self._operators = 0
        self.models = {"steady": model("steady"), "apart": model("apart", **NOT_STORED), "changing": model("changing")}

    @contextlib.contextmanager
    def running(self) -> Iterator["Platform"]:
        for namespace in (SYSTEM, NAMESPACE):
            self.control_plane.add_namespace(namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
        self.api.apply(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/tomoul-gateway", account)
        for region in REGIONS:
            labels = {"topology.kubernetes.io/region": region}
            self.control_plane.add_node(f"gpu-{region}", labels, {"nvidia.com/gpu": "32"})
        for region in yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text()):
            self.apply(region)
        for name, key in KEYS.items():
            self.put_keys(name, key)
            self.apply(tenant(name))
        for each in self.models.values():
            self.apply(each)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.control_plane.run_pods(status=_status))
            self.operator = self.start_operator()
            stack.callback(lambda: self.operator.stop())
            self.pods = stack.enter_context(Pods(self.api, NAMESPACE, own_address()))
            peers = {region: f"http://127.0.0.1:{port}" for region, port in self.ports.items()}
            for region, port in self.ports.items():
                pod = eventually(lambda region=region: self._gateway_pod(region), 60)
                gateway = GatewayPod(region, pod, self.control_plane.kubeconfig, port, peers)
                stack.callback(gateway.stop)
                self.gateways[region] = gateway
            for name in self.models:
                self.ready(name)
            yield self
            assert self.pods.failure is None, self.pods.failure

    def start_operator(self) -> OperatorProcess:
        self._operators += 1
        flags = (
            f"--host-regions={','.join(REGIONS)}", "--gateway-replicas=1", "--resync-seconds=10",
            "--gateway-auth=Required",
        )  # fmt: skip
        log = self._folder / f"operator-{self._operators}.log"
        return OperatorProcess(self.control_plane.kubeconfig, log, *flags)

    def stop_operator(self) -> None:
        """With SIGKILL."""
        self.operator.process.kill()
        self.operator.stop()

    def apply(self, item: Object) -> Object:
        metadata = item["metadata"]
        return self.api.apply(path(item["kind"], metadata["name"], metadata.get("namespace", "")), item)

    def delete(self, kind: str, name: str) -> None:
        self.api.delete(path(kind, name, NAMESPACE))

    def put_keys(self, name: str, *keys: str) -> None:
        """The Secret of a tenant."""
        data = {f"key-{number}": key for number, key in enumerate(keys)}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-keys"}, "stringData": data}
        self.api.apply(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}-keys", secret)

    def ready(self, name: str, seconds: float = 90) -> None:
        """Wait until a ModelDeployment is Ready as its spec is now."""

        def check() -> bool:
            item = self.api.get(path("ModelDeployment", name, NAMESPACE))
            assert item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
            found = condition(item, "Ready")
            assert found["status"] == "True", found
            return True

        eventually(check, seconds, f"{name} is Ready")

    def service(self, name: str, region: str, pool: str = "default") -> Object:
        """The Service of a pool."""
        selector = f"tomoul.ai/model-deployment={name},tomoul.ai/region={region},tomoul.ai/pool={pool}"
        found = self.api.get(f"/api/v1/namespaces/{NAMESPACE}/services", labelSelector=selector)["items"]
        return dict(found[0])

    def _gateway_pod(self, region: str) -> str:
        selector = f"{COMPONENT}=gateway,tomoul.ai/region={region}"
        pods = self.api.get(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector=selector)["items"]
        return str(pods[0]["metadata"]["name"]) if pods else ""


def _status(pod: Object) -> Mapping[str, Any]:
    """Engines get no IP: where they listen is told by slices of `pods.py`."""
    status = dict(running(pod))
    if pod["metadata"]["labels"].get(COMPONENT) == "engine":
        del status["podIP"], status["podIPs"]
    return status


class Calling:
    """The caller's process while its `with` block lasts."""

    def __init__(self, platform: Platform, pace: float = 0, connections: int = 8) -> None:
        models = [
            {"id": item["spec"]["model"]["id"], "notStored": item["spec"]["cache"]["noStore"] == "NotStored"}
            for item in platform.models.values()
        ]
        config = {"gateways": platform.ports, "keys": KEYS, "models": models, "connections": connections, "pace": pace}
        self._command = [sys.executable, "-m", "tests.prober.caller", json.dumps(config)]
        self.calls = self.wrong = 0
        self.report: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._read, name="caller", daemon=True)

    def __enter__(self) -> "Calling":
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._thread.join(60)
        self._process.wait(30)
        assert self._process.stdout
        self._process.stdout.close()

    def check(self) -> None:
        """AssertionError once the process has ended by itself."""
        assert self._process.poll() is None, "the caller has ended: its words are above"

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            told = json.loads(line)
            if "report" in told:
                self.report = told["report"]
            else:
                self.calls, self.wrong = told["calls"], told["wrong"]
