"""Pods: for each engine pod that is ready, an engine that listens and an EndpointSlice that leads to it.

What a kubelet and the EndpointSlice controller do, for pods that share this machine's one address and so have ports of
their own. A pod that goes is taken out of its Service first and ends a little later, as one that drains.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from typing import Any

from tests.controlplane.api import Api, ApiError, Object, eventually

COMPONENT = "app.kubernetes.io/component"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
DRAIN_SECONDS = 5.0
"""As long as an engine pod of the plan's waits until no gateway sends it calls."""
LOOK_SECONDS = 0.2


class Pods:
    """Engines for the pods of a namespace while its `with` block lasts."""

    def __init__(self, api: Api, namespace: str, address: str) -> None:
        self._api, self._namespace, self._address = api, namespace, address
        self._slices = SLICES.format(namespace)
        self.ports: dict[str, int] = {}
        """By pod."""
        self.unready: set[tuple[str, str]] = set()
        """Model and region of pods that are taken out of their Service; `*` for all models."""
        self._leaving: list[tuple[float, str]] = []
        self._looks = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)
        self.failure: BaseException | None = None

    def __enter__(self) -> "Pods":
        command = [sys.executable, "-m", "tests.prober.engines", self._address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout
        self._process.stdout.close()

    def settle(self) -> None:
        """Wait until no engine is on its way out."""
        seen = self._looks
        eventually(lambda: self._looks > seen + 1 and not self._leaving, 60, "engines that leave have left")

    def order(self, **order: Any) -> int:
        """Tell the engines' process; the port of what was started."""
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(json.loads(self._process.stdout.readline())["port"])

    def lead(self, name: str, service: Object, port: int) -> None:
        """An EndpointSlice of a Service with one endpoint."""
        labels = {**service["metadata"]["labels"], "kubernetes.io/service-name": service["metadata"]["name"]}
        item = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": self._namespace, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [self._address], "conditions": {"ready": True}}],
        }
        self._api.apply(f"{self._slices}/{name}", item)

    def unlead(self, name: str) -> None:
        with contextlib.suppress(ApiError):
            self._api.delete(f"{self._slices}/{name}")

    def _run(self) -> None:
        led: set[str] = set()
        try:
            while not self._stop.wait(LOOK_SECONDS):
                with contextlib.suppress(OSError, ApiError, http.client.HTTPException, ValueError):
                    self._look(led)
                self._looks += 1
                now = time.monotonic()
                for due, pod in [entry for entry in self._leaving if entry[0] < now]:
                    self._leaving.remove((due, pod))
                    self.order(stop=pod)
        except BaseException as error:
            self.failure = error
        finally:
            self._api.close()

    def _look(self, led: set[str]) -> None:
        collection = f"/api/v1/namespaces/{self._namespace}"
        pods = self._api.get(f"{collection}/pods", labelSelector=f"{COMPONENT}=engine")["items"]
        alive = {pod["metadata"]["name"]: pod for pod in pods if _lives(pod)}
        wanted = {name: pod for name, pod in alive.items() if not self._is_out(pod)}
        # What is new comes first: a rollout takes an old pod away because a new one is ready.
        if new := wanted.keys() - led:
            services = self._api.get(f"{collection}/services", labelSelector=f"{COMPONENT}=engine")["items"]
            for name in new:
                self._serve(wanted[name], services)
                led.add(name)
        for name in led - wanted.keys():
            self.unlead(f"prober-{name}")
            led.discard(name)
            if name not in alive:
                del self.ports[name]
                self._leaving.append((time.monotonic() + DRAIN_SECONDS, name))

    def _serve(self, pod: Object, services: list[Object]) -> None:
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        service = next(each for each in services if each["spec"]["selector"].items() <= labels.items())
        if name not in self.ports:
            args = pod["spec"]["containers"][0]["args"]
            self.ports[name] = self.order(
                start=name,
                region=labels["tomoul.ai/region"],
                pool=labels["tomoul.ai/pool"],
                caches="--enable-prefix-caching" in args,
            )
        self.lead(f"prober-{name}", service, self.ports[name])

    def _is_out(self, pod: Object) -> bool:
        labels = pod["metadata"]["labels"]
        return bool(self.unready & {(name, labels["tomoul.ai/region"]) for name in ("*", labels[MODEL])})


MODEL = "tomoul.ai/model-deployment"


def _lives(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(
        entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions
    )
