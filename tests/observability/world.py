"""Everything that tells metrics, running: a control plane, an operator, two regions' gateways, engines and traffic."""

import contextlib
import itertools
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.agent.http_calls import own_address
from tests.chart.helm import one, render
from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import running
from tests.controlplane.process import Process, free_port
from tests.gateway.counting import ASKED, counting
from tests.gateway.harness import ENVOY
from tests.gateway.wire import FakeEngine, call
from tests.integration.operators import GROUP, OperatorProcess, path
from tests.observability.prometheus import Target
from tomoul.gateway.filter.build import filter_folder
from tomoul.plan.envoy_bootstrap import MODULES_PATH, envoy_bootstrap

SYSTEM = "tomoul-system"
REGIONS = ("eu-west", "us-east")
KEY = "sk-observability-tests-0123456789abcdef"
COMPONENT = "app.kubernetes.io/component"
Object = dict[str, Any]


class GatewayPod:
    """What a gateway pod runs: an agent and an Envoy, with their sockets in a short folder."""

    def __init__(self, region: str, pod: str, kubeconfig: Path) -> None:
        self.region, self.pod = region, pod
        self.folder = Path(tempfile.mkdtemp(prefix="to-", dir="/tmp"))
        self.port, self.metrics_port, self.agent_port = free_port(), free_port(), free_port()
        salt = self.folder / "salt"
        salt.write_bytes(b"a key for tests, of 32 bytes....")
        self.agent = Process(
            [
                sys.executable, "-m", "tomoul", "agent", f"--region={region}", f"--pod-name={pod}",
                f"--socket={self.folder / 'ads.sock'}", f"--snapshot-dir={self.folder / 'snapshot'}",
                f"--salt-key-file={salt}", f"--listen-port={self.port}", f"--health-port={self.agent_port}",
                f"--kubeconfig={kubeconfig}", "--log-format=text",
            ],
            self.folder / "agent.log",
        )  # fmt: skip
        bootstrap = envoy_bootstrap(
            ads_socket=str(self.folder / "ads.sock"),
            admin_socket=str(self.folder / "admin.sock"),
            metrics_port=self.metrics_port,
        )
        self.envoy = Process(
            [
                "env", f"{MODULES_PATH}={filter_folder()}", ENVOY, "--config-yaml", json.dumps(bootstrap),
                "--service-node", pod, "--service-cluster", region, "--concurrency", "1",
                "--use-dynamic-base-id", "--log-level", "warning",
            ],
            self.folder / "envoy.log",
        )  # fmt: skip

    def targets(self) -> list[Target]:
        """As the chart's PodMonitor has them."""
        labels = {"namespace": SYSTEM, "pod": self.pod, "tomoul_ai_region": self.region}
        ports = {"metrics": self.metrics_port, "agent": self.agent_port}
        found = []
        monitor = one(
            render("metrics.monitors.enabled=true", "metrics.scrapeNamespaces={monitoring}"),
            "PodMonitor",
            "tomoul-gateway",
        )
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            rules = endpoint.get("metricRelabelings", ())
            assert all((rule["sourceLabels"], rule["action"]) == (["__name__"], "keep") for rule in rules)
            keep = [rule["regex"] for rule in rules]
            found.append(Target("gateway", ports[endpoint["port"]], endpoint["path"], labels, keep))
        return found

    def chat(self, model: str, *headers: tuple[str, str], **fields: Any) -> int:
        """The status that a call gets."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
        return call(self.port, body=body, headers=[*headers, ("authorization", f"Bearer {KEY}")]).status

    def stop(self) -> None:
        self.agent.stop()
        self.envoy.stop()
        shutil.rmtree(self.folder)


class World:
    """The examples in two regions, and a model that finds no GPUs. Use as a context manager."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self.control_plane, self.api = control_plane, control_plane.api
        self._folder = folder
        self._unwell: set[str] = set()
        self._stop_traffic = threading.Event()
        self._stops: list[Callable[[], object]] = []
        self.gateways: dict[str, GatewayPod] = {}

    def __enter__(self) -> "World":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        while self._stops:
            self._stops.pop()()

    def _start(self) -> None:
        for namespace in (SYSTEM, "models"):
            self.control_plane.add_namespace(namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
        self.api.apply(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/tomoul-gateway", account)
        for region in REGIONS:
            labels = {"topology.kubernetes.io/region": region}
            self.control_plane.add_node(f"gpu-{region}", labels, {"nvidia.com/gpu": "8"})
        self._apply_examples()
        self._apply_tenant()
        self.kubelet = self.control_plane.run_pods(status=self._status)
        self.kubelet.__enter__()
        self._stops.append(lambda: self.kubelet.__exit__(None, None, None))
        self.operator = OperatorProcess(
            self.control_plane.kubeconfig, self._folder / "operator.log", "--gateway-replicas=1", "--resync-seconds=5"
        )
        self._stops.append(self.operator.stop)
        for region in REGIONS:
            pod = eventually(lambda region=region: self._gateway_pod(region), 60)
            self.gateways[region] = GatewayPod(region, pod, self.control_plane.kubeconfig)
            self._stops.append(self.gateways[region].stop)
        self._run_engines()
        for name in ("tiny-chat", "tiny-solo"):
            eventually(lambda name=name: self._is_ready(name), 60)
        self._apply_refused()

    def _apply_examples(self) -> None:
        for name in ("regions", "tiny-chat", "tiny-solo"):
            for item in yaml.safe_load_all((REPOSITORY / "examples" / f"{name}.yaml").read_text()):
                if item["kind"] != "Namespace":
                    self._apply(item)
                if item["kind"] == "ModelDeployment" and name == "tiny-solo":
                    item["metadata"]["name"], item["spec"]["model"]["id"] = "huge", "tomoul/huge"
                    item["spec"]["resources"]["count"] = 16
                    self._apply(item)

    def _apply_tenant(self) -> None:
        """Whose key all calls carry."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme-keys"}, "stringData": {"key": KEY}}
        self.api.create("/api/v1/namespaces/models/secrets", secret)
        metadata = {"name": "acme", "namespace": "models"}
        spec = {"apiKeys": {"secretName": "acme-keys"}}
        self._apply({"apiVersion": "tomoul.ai/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec})

    def _apply_refused(self) -> None:
        """A model whose namespace may have no Services: a key that keeps failing."""
        self.control_plane.add_namespace("strict")
        quotas = "/api/v1/namespaces/strict/resourcequotas"
        quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/services": "0"}}}
        self.api.create(quotas, {"apiVersion": "v1", "kind": "ResourceQuota", **quota})
        eventually(lambda: self.api.get(f"{quotas}/none").get("status", {}).get("hard"))
        documents = yaml.safe_load_all((REPOSITORY / "examples" / "tiny-solo.yaml").read_text())
        item = next(found for found in documents if found["kind"] == "ModelDeployment")
        item["metadata"] = {"name": "refused", "namespace": "strict"}
        item["spec"]["model"]["id"] = "tomoul/refused"
        self._apply(item)

    def _apply(self, item: Object) -> None:
        metadata = item["metadata"]
        self.api.apply(path(item["kind"], metadata["name"], metadata.get("namespace", "")), item)

    def _status(self, pod: Object) -> Object:
        """Engines get no IP: where they listen is told by slices of this test's own."""
        status: Object = dict(running(pod))
        if pod["metadata"]["labels"][COMPONENT] == "engine":
            del status["podIP"], status["podIPs"]
        if pod["metadata"]["name"] in self._unwell:
            for entry in status["conditions"]:
                entry["status"] = "False" if entry["type"] in ("Ready", "ContainersReady") else entry["status"]
        return status

    def _gateway_pod(self, region: str) -> str:
        selector = f"{COMPONENT}=gateway,tomoul.ai/region={region}"
        pods = self.api.get(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector=selector)["items"]
        return str(pods[0]["metadata"]["name"]) if pods else ""

    def _run_engines(self) -> None:
        engine = FakeEngine(behave=counting(40, 12, 25), address=own_address())
        engine.start()
        self._stops.append(engine.stop)
        services = eventually(lambda: self._services(6))
        for service in services:
            metadata = service["metadata"]
            if metadata["labels"]["tomoul.ai/model-deployment"] == "huge":
                continue
            labels = {**metadata["labels"], "kubernetes.io/service-name": metadata["name"]}
            item = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": metadata["name"], "namespace": "models", "labels": labels},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": engine.port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [engine.address], "conditions": {"ready": True}}],
            }
            self.api.apply(f"/apis/discovery.k8s.io/v1/namespaces/models/endpointslices/{metadata['name']}", item)

    def _services(self, count: int) -> list[Object]:
        found: list[Object] = self.api.get("/api/v1/namespaces/models/services")["items"]
        return found if len(found) >= count else []

    def _is_ready(self, name: str) -> bool:
        item = self.api.get(f"{GROUP}/namespaces/models/modeldeployments/{name}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", ()))

    def targets(self) -> list[Target]:
        """As the chart's monitors have them."""
        operator = Target(
            "tomoul-operator-metrics", self.operator.ports()[1], labels={"namespace": SYSTEM, "pod": "operator"}
        )
        return [operator, *(target for gateway in self.gateways.values() for target in gateway.targets())]

    def run_traffic(self) -> None:
        """Calls of every sort until the end: answered, streamed, pinned, without a cache, and refused."""
        thread = threading.Thread(target=self._call_on, daemon=True)
        thread.start()
        self._stops += [lambda: thread.join(30), self._stop_traffic.set]

    def _call_on(self) -> None:
        for number in itertools.count():
            if self._stop_traffic.wait(0.05):
                break
            with contextlib.suppress(OSError):  # of a gateway that a test has killed
                self.call_once()
            self._change_a_route(number)
        self.api.close()

    def _change_a_route(self, number: int) -> None:
        """Of the model that is not ready anyway: another route waits for its gateways for a moment."""
        aliases = {"spec": {"model": {"aliases": [f"huge-{number}"]}}}
        self.api.patch(path("ModelDeployment", "huge", "models"), aliases)

    def call_once(self) -> list[int]:
        """One call of each sort; the statuses."""
        eu, us = self.gateways["eu-west"], self.gateways["us-east"]
        chat, solo = "tomoul/tiny-chat", "tomoul/tiny-solo"
        no_store = ("x-tomoul-cache", "no-store")
        return [
            eu.chat(chat),
            us.chat(chat),
            eu.chat(chat, stream=True, stream_options=ASKED),
            eu.chat(chat, ("x-tomoul-region", "eu-west")),
            eu.chat(chat, no_store),
            eu.chat(solo),
            eu.chat(solo, no_store),
            eu.chat("tomoul/huge", ("x-tomoul-region", "eu-west")),
            eu.chat(chat, ("x-tomoul-region", "mars")),
            eu.chat("no/such-model"),
        ]

    def kill_gateway(self, region: str) -> None:
        """Its Envoy dies and the kubelet sees it."""
        self.gateways[region].envoy.stop()
        self._unwell.add(self.gateways[region].pod)
        self.kubelet.set_status(self._status)
