"""The world of a run: etcd and API server, nothing else, and gateways that acknowledge what they are told."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.operator.effort import cpu_seconds
from benchmarks.operator.fleet import BARE_NAMESPACE, NAMESPACE, model, regions, write_bare
from benchmarks.operator.gateways import Gateways
from tests.controlplane.api import Api
from tests.controlplane.harness import ControlPlane
from tests.integration.operators import COLLECTIONS, GROUP
from tomoul.plan.labels import gateway_labels
from tomoul.plan.naming import gateway_name

SYSTEM = "tomoul-system"
CONNECTIONS = 8


class World:
    """A control plane of which nothing acts by itself, so that all CPU time is the operator's and the API server's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plane = ControlPlane(folder, controllers=False)
        self._gateways: Gateways | None = None

    def __enter__(self) -> "World":
        self.plane.__enter__()
        try:
            for name in (SYSTEM, NAMESPACE, BARE_NAMESPACE):
                item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self.api.create("/api/v1/namespaces", item)
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self.api.create(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts", account)
            for item in regions():
                self.plane.add_node(f"node-{item['metadata']['name']}", item["spec"]["placement"]["nodeSelector"])
                self.api.create(COLLECTIONS["Region"], item)
                self._add_gateway(item["metadata"]["name"])
            self._gateways = Gateways(self.api)
        except BaseException:
            self.plane.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        if self._gateways is not None:
            self._gateways.stop()
        self.plane.stop()

    @property
    def api(self) -> Api:
        """A client."""
        return self.plane.api

    def server_cpu(self) -> float:
        """CPU seconds of API server and etcd so far."""
        return sum(cpu_seconds(self.plane.pid(name)) for name in ("kube-apiserver", "etcd"))

    def bare(self, numbers: range, validation: str = "Strict") -> dict[str, float]:
        """Have a bare client apply the children of these models; `objects`, `seconds`, CPU of client and server."""
        file = self.folder / "bare.jsonl"
        write_bare(file, numbers)
        before = self.server_cpu()
        command = [sys.executable, "-m", "benchmarks.operator.bare", self.plane.kubeconfig, file]
        command += [str(CONNECTIONS), validation]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return {**found, "server_cpu_seconds": self.server_cpu() - before}

    def add_models(self, numbers: Iterable[int]) -> None:
        """Create ModelDeployments, as fast as the API server takes them."""
        collection = f"{GROUP}/namespaces/{NAMESPACE}/modeldeployments"
        self.at_once(lambda number: self.api.create(collection, model(number)), numbers)

    def at_once(self, what: Callable[[int], object], numbers: Iterable[int]) -> None:
        """Call `what` for each number, a few at a time. Raises what it raises."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(what, numbers):
                pass

    def count(self, kind: str) -> int:
        """How many objects of a kind the operator has made for models."""
        collection, token, found = COLLECTIONS[kind].replace("/v1/", f"/v1/namespaces/{NAMESPACE}/"), "", 0
        while True:
            page = self.api.get(collection, limit="500", **({"continue": token} if token else {}))
            found += len(page["items"])
            if not (token := page["metadata"].get("continue", "")):
                return found

    def _add_gateway(self, region: str) -> None:
        name = f"{gateway_name(region)}-0-0"
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{gateway_name(region)}-0", "uid": name}
        collection = f"/api/v1/namespaces/{SYSTEM}/pods"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {**gateway_labels(region), "pod-template-hash": "0"},
                "ownerReferences": [owner],
            },
            "spec": {"containers": [{"name": "envoy", "image": "envoy"}], "nodeName": f"node-{region}"},
        }
        self.api.create(collection, pod)
        ready = [
            {"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        self.api.patch(f"{collection}/{name}/status", {"status": {"phase": "Running", "conditions": ready}})
