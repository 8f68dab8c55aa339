"""A cluster whose operator talks to the API server through a proxy, and what is compared between runs."""

import contextlib
import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.api import Api, ApiError, Object, eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.faults.plans import APART
from tests.faults.proxy import Fault, Proxy
from tests.faults.state import State, made, said
from tests.integration.operators import COLLECTIONS, OURS, OperatorProcess, path

SYSTEM = "faults-system"
MODELS = "faults-models"
REGIONS = ("eu-west", "us-east")
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/tomoul-operator"
MADE = ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy")


def example_model(name: str, *regions: str, **spec: Any) -> Object:
    """A ModelDeployment like the example."""
    documents = yaml.safe_load_all((REPOSITORY / "examples" / "tiny-chat.yaml").read_text())
    item: Object = next(document for document in documents if document["kind"] == "ModelDeployment")
    item["metadata"] = {"name": name, "namespace": MODELS}
    item["spec"] |= {
        "model": {"id": f"faults/{name}"},
        "cache": {"mode": "Tenant", "noStore": "Refuse"},
        "routing": {},
        "regions": [{"name": region, "replicas": 1} for region in regions],
        "resources": {"cpu": "100m", "memory": "64Mi"},
    }
    item["spec"] |= spec
    return item


class World:
    """Two regions, gateways that acknowledge what they are told, and operators that are started again when they end."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self.control_plane, self.api, self.folder = control_plane, control_plane.api, folder
        self.proxy = Proxy(control_plane.kubeconfig, folder)
        self.ended: list[int] = []
        """Exit statuses of operators that ended by themselves or were killed."""
        self._numbers = itertools.count(1)
        self._operators: list[OperatorProcess] = []
        self._stopping = threading.Event()
        self._supervised = True
        self._resync = 3.0

    @contextlib.contextmanager
    def running(self, fault: Fault | None = None, *, operators: int = 1, resync: float = 3) -> Iterator["World"]:
        """With operators, from the beginning under `fault`; afterwards everything is gone again."""
        self._stopping.clear()
        self.ended.clear()
        self.proxy.done.clear()
        self.proxy.unanswered.clear()
        self.proxy.fault = fault or Fault()
        for name in REGIONS:
            self.apply(self.region(name))
        self._resync = resync
        self._operators = [self.start() for _ in range(operators)]
        self._supervised = True
        threads = [threading.Thread(target=each, daemon=True) for each in (self._supervise, self._acknowledge)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.proxy.fault = Fault()
            self._stopping.set()
            for thread in threads:
                thread.join(30)
            for operator in self._operators:
                operator.stop(signal.SIGKILL)
            self._clear()
        assert "this is a bug" not in self.said(), self.said()

    def said(self) -> str:
        """What all operators have logged."""
        return "".join(log.read_text() for log in sorted(self.folder.glob("operator-*.log")))

    def start(self, proxy: Proxy | None = None) -> OperatorProcess:
        """An operator that nobody starts again, by a proxy of its own if it has one."""
        flags = (
            f"--namespace={SYSTEM}", f"--host-regions={','.join(REGIONS)}", "--gateway-replicas=1",
            f"--resync-seconds={self._resync}",
        )  # fmt: skip
        log = self.folder / f"operator-{next(self._numbers)}.log"
        return OperatorProcess((proxy or self.proxy).kubeconfig, log, *flags)

    @contextlib.contextmanager
    def without_operators(self) -> Iterator[None]:
        """Nobody keeps the cluster for the `with` block."""
        self._supervised = False
        self.kill()
        yield
        self._supervised = True

    def kill(self) -> None:
        """Kill the operators. What else is needed to go on is the supervisor's."""
        for operator in self._operators:
            operator.process.kill()
            operator.process.wait()

    @property
    def leaders(self) -> list[OperatorProcess]:
        return [each for each in self._operators if each.process.poll() is None and each.leads()]

    def region(self, name: str) -> Object:
        documents = yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text())
        return next(document for document in documents if document["metadata"]["name"] == name)

    def apply(self, item: Object) -> Object:
        metadata = item["metadata"]
        return self.api.apply(path(item["kind"], metadata["name"], metadata.get("namespace", "")), item)

    def delete(self, kind: str, name: str) -> None:
        self.api.delete(path(kind, name, MODELS if kind != "Region" else ""))

    def effects(self) -> Counter[str]:
        """What the operators have created and deleted, whether they heard of it or not; leases and Events apart."""
        found: Counter[str] = Counter()
        for call, status in list(self.proxy.done):
            if call.resource in APART:
                continue
            if call.verb in ("create", "apply") and status == 201:
                found[f"create {call.object}"] += 1
            elif call.verb == "delete" and status == 200:
                found[f"delete {call.object}"] += 1
        return found

    def perhaps(self) -> set[str]:
        """What the operators may have created or deleted at an API server that ended before it answered."""
        verbs = {"create": "create", "apply": "create", "delete": "delete"}
        calls = [call for call in list(self.proxy.unanswered) if call.verb in verbs]
        return {f"{verbs[call.verb]} {call.object}" for call in calls}

    def state(self) -> State:
        """All that people and the operator have made, without what differs from run to run."""
        found: State = {}
        for kind in MADE:
            for item in self.api.get(COLLECTIONS[kind], labelSelector=OURS)["items"]:
                found[f"{kind} {item['metadata']['name']}"] = made(item)
        for kind in ("ModelDeployment", "Region"):
            for item in self.api.get(COLLECTIONS[kind])["items"]:
                found[f"{kind} {item['metadata']['name']}"] = said(item)
        for item in self.api.get(COLLECTIONS["RoutingTable"])["items"]:
            models = [{**route, "created": 0} for route in item["spec"]["models"]]
            found[f"RoutingTable {item['metadata']['name']}"] = {**item["spec"], "models": models}
        return found

    def becomes(self, wanted: State, seconds: float = 120) -> None:
        """The state is `wanted` within `seconds`; what differs is told."""

        def check() -> bool:
            found = self.state()
            different = {
                key: (found.get(key), wanted.get(key))
                for key in found.keys() | wanted.keys()
                if found.get(key) != wanted.get(key)
            }
            assert not different, different
            return True

        eventually(check, seconds)

    def settles(self, seconds: float = 60) -> State:
        """The state once all that is there is Ready, nothing is left to do for anybody, and that for two seconds.

        That nothing is left is asked, not waited for: on a slow machine old pods, and tables that were slow to write,
        wait for many seconds in which nothing changes.
        """

        def still() -> State:
            before = self.state()
            for key, value in before.items():
                if key.startswith(("ModelDeployment", "Region")):
                    assert value["conditions"].get("Ready", ("",))[0] == "True", (key, value)
            time.sleep(2)
            self._check_idle()
            assert self.state() == before
            return before

        return eventually(still, seconds)

    def _check_idle(self) -> None:
        """No Deployment is being rolled out, no pod of a former revision is left, and no operator has work."""
        wanted = 0
        for item in self.api.get(COLLECTIONS["Deployment"], labelSelector=OURS)["items"]:
            status, wanted = item["status"], wanted + item["spec"]["replicas"]
            assert status.get("replicas", 0) == status.get("updatedReplicas", 0) == item["spec"]["replicas"], item
        assert len(self.api.get("/api/v1/pods", labelSelector=OURS)["items"]) == wanted
        for operator in self.leaders:
            metrics = operator.metrics()
            waiting = {name: metrics[f"tomoul_queue_{name}"] for name in ("depth", "delayed", "processing")}
            assert not any(waiting.values()), waiting

    def _supervise(self) -> None:
        """What a kubelet does, but at once; and the lease of one that was killed ends at once too."""
        while not self._stopping.wait(0.05):
            for index, operator in enumerate(self._operators):
                status = operator.process.poll()
                if status is not None and self._supervised and not self._stopping.is_set():
                    self.ended.append(operator.stop())
                    with contextlib.suppress(ApiError, OSError):
                        self.api.patch(LEASE, {"spec": {"holderIdentity": ""}})
                    self._operators[index] = self.start()
        self.api.close()

    def _acknowledge(self) -> None:
        """What the agents of all gateway pods write."""
        api = self.api
        while not self._stopping.wait(0.1):
            with contextlib.suppress(ApiError, OSError):
                for table in api.get(COLLECTIONS["RoutingTable"])["items"]:
                    self._acknowledge_table(api, table)
        api.close()

    def _acknowledge_table(self, api: Api, table: Object) -> None:
        region, generation = table["metadata"]["name"], table["metadata"]["generation"]
        known = {entry["name"]: entry["acceptedGeneration"] for entry in table.get("status", {}).get("gateways", ())}
        selector = f"app.kubernetes.io/component=gateway,tomoul.ai/region={region}"
        for pod in api.get(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector=selector)["items"]:
            name = pod["metadata"]["name"]
            if known.get(name) != generation:
                status = {"gateways": [{"name": name, "acceptedGeneration": generation}]}
                head = {"apiVersion": table["apiVersion"], "kind": "RoutingTable", "metadata": {"name": region}}
                api.apply(f"{path('RoutingTable', region)}/status", {**head, "status": status}, f"tomoul-agent-{name}")

    def _clear(self) -> None:
        api = self.api
        for kind in ("ModelDeployment", "Region"):
            for item in api.get(COLLECTIONS[kind])["items"]:
                api.remove(path(kind, item["metadata"]["name"], item["metadata"].get("namespace", "")))
        for left in (LEASE, f"/api/v1/namespaces/{SYSTEM}/secrets/tomoul-cache-salt"):
            with contextlib.suppress(ApiError):
                api.delete(left)
        eventually(lambda: not self.state(), 60, "everything is collected")
        eventually(lambda: not api.get("/api/v1/pods", labelSelector=OURS)["items"], 60, "pods are collected")
