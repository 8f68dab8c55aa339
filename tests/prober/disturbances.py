"""What happens to the platform while it is probed, and which refusals that explains."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.controlplane.api import eventually
from tests.integration.operators import path
from tests.prober.world import KEYS, NAMESPACE, Platform, model, tenant

READY_SECONDS = 240.0
"""In which something becomes Ready, Kubernetes' controllers included: the callers take most of the machine."""


class Refusal(NamedTuple):
    """A call that got no 200: when, and what was asked. Status 0: no answer."""

    when: float
    gateway: str
    pin: str
    model: str
    status: int
    code: str


def nothing(_refusal: Refusal) -> bool:
    """No refusal is explained."""
    return False


@dataclass(frozen=True)
class Window:
    """A time in which some refusals are what was promised."""

    name: str
    began: float
    ended: float
    explains: Callable[[Refusal], bool] = nothing
    away: str = ""
    """Region whose calls without a pin may be answered elsewhere."""
    needed: bool = False
    """Whether there have to be such refusals: else what was done to the platform did nothing."""


class Disturber:
    """Disturbs a platform, one thing after the other; `windows` tell what is explained."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.windows: list[Window] = []
        self._numbers = 0
        self._last = ""

    @contextlib.contextmanager
    def window(
        self, name: str, explains: Callable[[Refusal], bool] = nothing, *, away: str = "", needed: bool = False
    ) -> Iterator[None]:
        began = time.time()
        yield
        self.windows.append(Window(name, began, time.time(), explains, away, needed))

    @property
    def all(self) -> Sequence[Callable[[], None]]:
        return (
            self.a_new_revision_takes_over,
            self.replicas_come_and_go,
            self.models_come_and_go,
            self.tenants_and_keys_change,
            self.the_operator_is_killed,
            self.an_agent_is_killed,
            self.a_gateway_is_killed,
            self.a_region_is_emptied,
            self.a_region_drains,
            self.the_api_server_goes_and_a_gateway_is_killed_meanwhile,
        )

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def apply_argument(self) -> None:
        """A new revision of `changing`."""
        self._last = f"--max-num-seqs={100 + self._number()}"
        item = self._platform.models["changing"]
        item["spec"]["engine"] = {"type": "VLLM", "version": "0.32.0", "args": [self._last]}
        self._platform.apply(item)

    def argument_is_applied(self) -> bool:
        """Whether the operator has written the new revision's Deployments."""
        where = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
        found = self._platform.api.get(where, labelSelector="tomoul.ai/model-deployment=changing")["items"]
        return all(self._last in item["spec"]["template"]["spec"]["containers"][0]["args"] for item in found)

    def a_new_revision_takes_over(self) -> None:
        """By surge."""
        with self.window("a rollout"):
            self.apply_argument()
            self._platform.ready("changing", READY_SECONDS)

    def replicas_come_and_go(self) -> None:
        """Two in the place of one; one of two is deleted; one."""
        platform = self._platform
        with self.window("replicas"):
            self._scale(eu_west=2, us_east=1)
            selector = "tomoul.ai/model-deployment=changing,tomoul.ai/region=eu-west"
            pods = platform.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=selector)["items"]
            platform.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pods[0]['metadata']['name']}")
            time.sleep(1)
            self._scale(eu_west=1, us_east=1)

    def models_come_and_go(self) -> None:
        """One with an alias, in one region."""
        platform, name = self._platform, f"passing-{self._number()}"
        with self.window("models"):
            ids = {"id": f"prober/{name}", "aliases": [f"{name}-alias"]}
            platform.apply(model(name, model=ids, regions=[{"name": "us-east", "replicas": 1}], routing={}))
            platform.ready(name, READY_SECONDS)
            platform.delete("ModelDeployment", name)
            eventually(lambda: f"prober/{name}" not in self._routed("us-east"), 60)

    def tenants_and_keys_change(self) -> None:
        """A third tenant comes, changes and goes; a tenant that calls gets a second key and loses it."""
        platform = self._platform
        with self.window("tenants"):
            platform.put_keys("initech", "sk-initech-".ljust(40, "k"))
            platform.apply(tenant("initech", limits={"requestsPerMinute": 60}))
            platform.put_keys("acme", KEYS["acme"], f"sk-acme-{self._number()}-".ljust(40, "k"))
            time.sleep(1)
            platform.apply(tenant("initech", limits={"requestsPerMinute": 6}, regions=["eu-west"]))
            platform.apply(tenant("globex", models=[f"prober/{name}" for name in platform.models]))
            time.sleep(1)
            platform.delete("Tenant", "initech")
            platform.apply(tenant("globex"))
            platform.put_keys("acme", KEYS["acme"])
            time.sleep(1)

    def the_operator_is_killed(self) -> None:
        """With a change on its way; another one starts."""
        platform = self._platform
        with self.window("the operator"):
            self.apply_argument()
            platform.stop_operator()
            platform.operator = platform.start_operator()
            platform.ready("changing", READY_SECONDS)

    def an_agent_is_killed(self) -> None:
        """Envoy goes on without it."""
        gateway = self._platform.gateways["eu-west"]
        # A gateway that has no agent goes on calling engines that have left: they would be missed after five seconds.
        self._platform.pods.settle()
        with self.window("an agent"):
            gateway.kill("agent")
            time.sleep(1)
            gateway.start()
            gateway.knows()
            self.apply_argument()
            self._platform.ready("changing", READY_SECONDS)

    def a_gateway_is_killed(self) -> None:
        """Envoy and agent, with SIGKILL."""
        gateway = self._platform.gateways["us-east"]
        with self.window("a gateway", without_gateway("us-east"), needed=True):
            gateway.restart()

    def a_region_is_emptied(self) -> None:
        """No engine of us-east is ready."""
        unready = self._platform.pods.unready
        with self.window("an emptied region", pinned_to("us-east"), away="us-east", needed=True):
            unready.add(("*", "us-east"))
            time.sleep(3)
            unready.clear()
            time.sleep(1.5)

    def a_region_drains(self) -> None:
        """Calls pinned to it go on."""
        platform = self._platform
        region = platform.api.get(path("Region", "us-east"))
        with self.window("a region that drains", away="us-east"):
            for state in ("Draining", "Active"):
                head = {"apiVersion": region["apiVersion"], "kind": "Region", "metadata": {"name": "us-east"}}
                platform.apply({**head, "spec": {**region["spec"], "state": state}})
                eventually(lambda draining=state == "Draining": self._is_programmed("us-east", draining), 60)
                time.sleep(1)

    def the_api_server_goes_and_a_gateway_is_killed_meanwhile(self) -> None:
        """And the operator with it. The gateway comes back from its snapshot, before they do."""
        platform = self._platform
        gateway = platform.gateways["eu-west"]
        platform.control_plane.stop_apiserver()
        platform.api.close()
        platform.stop_operator()
        try:
            time.sleep(1)
            with self.window("a gateway without an API server", without_gateway("eu-west"), needed=True):
                gateway.restart()
            time.sleep(2)  # in which nothing may fail
        finally:
            platform.control_plane.start_apiserver()
            platform.operator = platform.start_operator()
        self.apply_argument()
        platform.ready("changing", READY_SECONDS)

    def _scale(self, **replicas: int) -> None:
        item = self._platform.models["changing"]
        item["spec"]["regions"] = [
            {"name": name.replace("_", "-"), "replicas": count} for name, count in replicas.items()
        ]
        self._platform.apply(item)
        self._platform.ready("changing", READY_SECONDS)

    def _routed(self, region: str) -> set[str]:
        spec = self._platform.api.get(path("RoutingTable", region))["spec"]
        return {route["id"] for route in spec.get("models", ())}

    def _is_programmed(self, region: str, draining: bool) -> bool:
        """Whether the region's gateway has accepted a table that says so."""
        table = self._platform.api.get(path("RoutingTable", region))
        assert table["spec"].get("draining", False) == draining
        entries = table.get("status", {}).get("gateways", ())
        return any(entry.get("acceptedGeneration") == table["metadata"]["generation"] for entry in entries)


def without_gateway(region: str) -> Callable[[Refusal], bool]:
    """What the loss of a region's only gateway explains: it answers nobody, and others refuse what is pinned to it."""

    def explains(refusal: Refusal) -> bool:
        if refusal.gateway == region:
            return refusal.status == 0
        return refusal.pin == region and (refusal.status, refusal.code) in (
            (503, "region_capacity_unavailable"),
            (502, "engine_failed"),
        )

    return explains


def pinned_to(region: str) -> Callable[[Refusal], bool]:
    """What a region without engines explains."""

    def explains(refusal: Refusal) -> bool:
        return (refusal.pin, refusal.status, refusal.code) == (region, 503, "region_capacity_unavailable")

    return explains
