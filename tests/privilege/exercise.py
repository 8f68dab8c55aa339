"""Exercise: the real operator and a real gateway's agent, under the chart's ServiceAccounts, do all that they ever do.

Who teaches them something new adds a step here: a right that no step needs fails the tests.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tests.agent.envoy import Envoy, short_folder
from tests.chart.helm import one, render
from tests.controlplane import keda, leaderworkersets
from tests.controlplane.api import Object, eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.process import Process
from tests.faults.call import Call
from tests.faults.proxy import Event, Fault, Proxy
from tests.integration.operators import OperatorProcess, condition, path
from tomoul.plan.envoy_bootstrap import envoy_bootstrap
from tomoul.plan.key_access import NAME as KEYS

SYSTEM = "tomoul-system"
MODELS = "models"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"
_FIELDS = ("apiVersion", "kind", "metadata", "spec")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class Deaf(Fault):
    """No watch hears of anything, bookmarks apart: only lists tell what has gone."""

    def event(self, call: Call, event: Event) -> Event | None:
        return event if event["type"] == "BOOKMARK" else None


class Exercise:
    """A cluster with the chart's accounts and roles, an operator and a gateway."""

    def __init__(self, control_plane: ControlPlane, folder: Path, args: list[str]) -> None:
        """`args` are those of the chart's operator container."""
        self.control_plane, self.api, self.folder = control_plane, control_plane.api, folder
        self._args = args

    @contextlib.contextmanager
    def operator(self, account: str = "tomoul-operator") -> Iterator[Proxy]:
        """An operator that leads, behind a proxy."""
        kubeconfig = self.control_plane.service_account_kubeconfig(SYSTEM, account)
        with Proxy(kubeconfig, self.folder) as proxy:
            flags = [arg for arg in self._args if not arg.startswith(("operator", "--namespace", "--resync"))]
            log = self.folder / "operator.log"
            started = OperatorProcess(
                proxy.kubeconfig,
                log,
                *flags,
                f"--namespace={SYSTEM}",
                "--resync-seconds=2",
                "--external-metrics-port=0",
            )
            try:
                eventually(started.leads, 60)
                yield proxy
            finally:
                status = started.stop()
        assert status == 0, log.read_text()
        assert "this is a bug" not in log.read_text(), log.read_text()

    @contextlib.contextmanager
    def gateway(self, region: str) -> Iterator[Proxy]:
        """The Envoy and the agent of a gateway pod that there is, the agent behind a proxy."""
        kubeconfig = self.control_plane.service_account_kubeconfig(SYSTEM, "tomoul-gateway")
        pod = eventually(lambda: self.gateway_pods(region))[0]
        with Proxy(kubeconfig, self.folder) as proxy, short_folder() as folder:
            (folder / "salt").write_bytes(b"a salt key for tests")
            bootstrap = envoy_bootstrap(
                ads_socket=str(folder / "ads.sock"), admin_socket=str(folder / "admin.sock"), metrics_port=0
            )
            command = [
                sys.executable, "-m", "tomoul", "agent", f"--kubeconfig={proxy.kubeconfig}", f"--region={region}",
                f"--socket={folder / 'ads.sock'}", f"--snapshot-dir={folder / 'snapshot'}", f"--pod-name={pod}",
                f"--salt-key-file={folder / 'salt'}", "--listen-port=0", "--health-port=0", "--relist-seconds=2",
            ]  # fmt: skip
            agent = Process(command, self.folder / f"agent-{region}.log")
            envoy = Envoy(folder, bootstrap)
            with asyncio.Runner() as runner:
                runner.run(envoy.start())
                try:
                    yield proxy
                finally:
                    runner.run(envoy.stop())
                    agent.stop()

    def gateway_pods(self, region: str) -> list[str]:
        selector = f"app.kubernetes.io/component=gateway,tomoul.ai/region={region}"
        pods = self.api.get(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector=selector)["items"]
        return sorted(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])

    def apply(self, item: Object) -> Object:
        metadata = item["metadata"]
        return self.api.apply(path(item["kind"], metadata["name"], metadata.get("namespace", "")), item)

    def model(self, name: str) -> Object:
        return self.api.get(path("ModelDeployment", name, MODELS))

    def programmed(self, name: str, region: str) -> bool:
        return bool(condition(self.model(name), "RoutesProgrammed", region)["status"] == "True")

    def children(self, kind: str, model: str) -> list[str]:
        head, _, plural = path(kind, "", MODELS)[:-1].rpartition("/")
        items = self.api.get(f"{head}/{plural}", labelSelector=f"tomoul.ai/model-deployment={model}")["items"]
        return sorted(item["metadata"]["name"] for item in items)

    def run(self, is_done: Callable[[], bool]) -> None:
        """All steps, until `is_done` or a minute after the last one. Namespaces, regions and the chart are there."""
        chat, solo = example("tiny-chat"), example("tiny-solo")
        tenant = {
            "apiVersion": "tomoul.ai/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": "acme", "namespace": MODELS},
            "spec": {"apiKeys": {"secretName": "acme"}},
        }
        for item in (chat, solo, tenant):
            self.apply(item)
        self._spoil_certificate()
        self._add_keys()
        with self.operator() as operator:
            eventually(lambda: condition(self.api.get(path("Tenant", "acme", MODELS)), "Enforced"), 60)
            with self.gateway("eu-west") as agent:
                eventually(lambda: self.programmed("tiny-chat", "eu-west"), 60)
                self._change(chat)
                self._repair()
                self._scale(solo)
                self._span(solo)
                self._revoke(tenant)
                self._lose_a_gateway()
                self._miss_deletions(operator, agent)
                with contextlib.suppress(AssertionError):
                    eventually(is_done, 60)

    def _change(self, chat: Object) -> None:
        """A model changes, leaves a region, and a region is taken out of service."""
        changed = yaml.safe_load(yaml.safe_dump(chat))
        changed["spec"]["rollout"] = {"drainSeconds": 7}
        del changed["spec"]["regions"][1:]
        changed["spec"]["routing"] = {}
        self.apply(changed)
        eventually(lambda: len(self.children("ServiceAccount", "tiny-chat")) == 1)
        eventually(lambda: len(self.children("NetworkPolicy", "tiny-chat")) == 1)
        self.api.patch(path("Region", "us-east"), {"spec": {"state": "Disabled"}})
        eventually(lambda: self.api.gone(path("RoutingTable", "us-east")))
        eventually(lambda: not self.gateway_pods("us-east"))

    def _repair(self) -> None:
        """What somebody deletes comes back."""
        kinds = ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy")
        for kind in kinds:
            name = self.children(kind, "tiny-solo")[0]
            self.api.delete(path(kind, name, MODELS))
        eventually(lambda: all(self.children(kind, "tiny-solo") for kind in kinds))

    def _spoil_certificate(self) -> None:
        """A certificate that cannot be used is made anew."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tomoul-external-metrics"}}
        self.api.apply(f"/api/v1/namespaces/{SYSTEM}/secrets/tomoul-external-metrics", secret)

    def _scale(self, solo: Object) -> None:
        """A model scales, by KEDA once that is installed, and then not; the API server is told the certificate."""
        api_service = one(render("scaling.externalMetrics=true"), "APIService", EXTERNAL_METRICS)
        self.api.apply(f"{API_SERVICES}/{EXTERNAL_METRICS}", api_service)
        eventually(lambda: "caBundle" in self.api.get(f"{API_SERVICES}/{EXTERNAL_METRICS}")["spec"])
        scaled = yaml.safe_load(yaml.safe_dump(solo))
        target = scaled["spec"]["regions"][0]
        del target["replicas"]
        target["scaling"] = {"maxReplicas": 2, "targetInFlight": 8}
        self.apply(scaled)
        eventually(lambda: self.children("HorizontalPodAutoscaler", "tiny-solo"))
        self.api.apply(keda.PATH, keda.CRD)
        objects = f"/apis/keda.sh/v1alpha1/namespaces/{MODELS}/scaledobjects"
        eventually(lambda: self.api.get(objects)["items"], 60)
        eventually(lambda: not self.children("HorizontalPodAutoscaler", "tiny-solo"))
        self.apply(solo)
        eventually(lambda: not self.api.get(objects)["items"])
        # What is left over of a model, of both kinds: see `_miss_deletions`.
        leftover = {"name": "passing", "labels": {"app.kubernetes.io/managed-by": "tomoul"}}
        to = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "passing"}}
        autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": leftover}
        scaled_object = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": leftover}
        where = path("HorizontalPodAutoscaler", "passing", MODELS)
        self.api.apply(where, {**autoscaler, "spec": {**to, "maxReplicas": 1}})
        self.api.apply(f"{objects}/passing", {**scaled_object, "spec": {**to, "triggers": []}})

    def _span(self, solo: Object) -> None:
        """A model's replicas become several pods, once LeaderWorkerSet is installed, and single ones again."""
        spanning = yaml.safe_load(yaml.safe_dump(solo))
        spanning["spec"] |= {"engine": {"type": "VLLM"}, "capabilities": {}, "cache": {"noStore": "Refuse"}}
        spanning["spec"] |= {"resources": {"accelerator": "nvidia-l4", "nodes": 2}, "rollout": {"strategy": "Replace"}}
        self.apply(spanning)
        self.api.apply(leaderworkersets.PATH, leaderworkersets.CRD)
        (made,) = eventually(lambda: self._group_sets())
        self.apply(solo)
        eventually(lambda: not self._group_sets())
        leftover = {"name": "passing", "labels": {"app.kubernetes.io/managed-by": "tomoul"}}
        empty = {**made, "metadata": leftover}
        self.api.apply(leaderworkersets.path("passing", MODELS), {name: empty[name] for name in _FIELDS})

    def _group_sets(self) -> list[Object]:
        found: list[Object] = self.api.get(f"{leaderworkersets.SETS}/namespaces/{MODELS}/leaderworkersets")["items"]
        return found

    def _add_keys(self) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme"}, "stringData": {"a": "k" * 32}}
        self.api.create(f"/api/v1/namespaces/{MODELS}/secrets", secret)

    def _revoke(self, tenant: Object) -> None:
        """The last tenant of a namespace goes, with the gateways' right to read its keys, and comes back."""
        enforced = path("Tenant", "acme", MODELS)
        eventually(lambda: condition(self.api.get(enforced), "Enforced")["status"] == "True", 60)
        self.api.delete(enforced)
        for kind in ("Role", "RoleBinding"):
            eventually(lambda kind=kind: self.api.gone(path(kind, KEYS, MODELS)))
        self.apply(tenant)
        eventually(lambda: condition(self.api.get(enforced), "Enforced")["status"] == "True", 60)

    def _lose_a_gateway(self) -> None:
        """The entry of a gateway that never was leaves the table."""
        entry = {"name": "tomoul-gateway-gone", "acceptedGeneration": 1}
        status = {"kind": "RoutingTable", "apiVersion": "tomoul.ai/v1alpha1", "metadata": {"name": "eu-west"}}
        table = path("RoutingTable", "eu-west")
        self.api.apply(f"{table}/status", {**status, "status": {"gateways": [entry]}}, "tomoul-agent-gone")
        eventually(lambda: "tomoul-gateway-gone" not in str(self.api.get(table)["status"]))

    def _miss_deletions(self, operator: Proxy, agent: Proxy) -> None:
        """Of every kind something goes without a word: the next list does not have it, and a read makes sure."""
        self.control_plane.add_namespace("passing")
        self.control_plane.add_node("passing")
        operator.fault = agent.fault = Deaf()
        self.api.delete(f"/api/v1/namespaces/{MODELS}/secrets/acme")
        # Before its Role goes, without which the gateway could not make sure.
        eventually(lambda: "SecretNotFound" in str(self.api.get(path("RoutingTable", "eu-west"))["status"]), 60)
        for kind, name, namespace in (
            ("ModelDeployment", "tiny-chat", MODELS), ("ModelDeployment", "tiny-solo", MODELS),
            ("Role", KEYS, MODELS), ("RoleBinding", KEYS, MODELS), ("Tenant", "acme", MODELS),
            ("Region", "eu-west", ""),
        ):  # fmt: skip
            self.api.delete(path(kind, name, namespace))
        self.api.delete("/api/v1/nodes/passing")
        self.api.delete(path("HorizontalPodAutoscaler", "passing", MODELS))
        self.api.delete(f"/apis/keda.sh/v1alpha1/namespaces/{MODELS}/scaledobjects/passing")
        self.api.delete(leaderworkersets.path("passing", MODELS))
        # Nobody answers behind it here, and a namespace is only gone once all APIs have said what they have there.
        self.api.delete(f"{API_SERVICES}/{EXTERNAL_METRICS}")
        self.api.delete("/api/v1/namespaces/passing")


def example(name: str) -> Object:
    documents = yaml.safe_load_all((REPOSITORY / "examples" / f"{name}.yaml").read_text())
    return next(document for document in documents if document["kind"] == "ModelDeployment")
