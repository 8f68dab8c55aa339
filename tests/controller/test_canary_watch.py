"""Which gateways are asked for a canary's counts, and what becomes of no answer."""

import asyncio
from typing import Any

import pytest

from tomoul.controller.asking import PERIOD_SECONDS
from tomoul.controller.canary_watch import CanaryWatch, Tried
from tomoul.controller.observed import Observed
from tomoul.plan.naming import gateway_name
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

pytestmark = pytest.mark.looptime

MODEL, DEPLOYMENT = Key("models", "chat"), Key("models", "chat-eu-canary")


def gateway(name: str, region: str, address: str, ready: bool = True) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/component": "gateway",
        "tomoul.ai/region": region,
        "pod-template-hash": "abc",
    }
    owner = {"kind": "ReplicaSet", "name": f"{gateway_name(region)}-abc"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "tomoul-system",
            "uid": name,
            "resourceVersion": "1",
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {"containers": []},
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class Gateways:
    """Gateways of two regions, and what their metrics say; None is no answer."""

    def __init__(self) -> None:
        self.calls: dict[str, int | None] = {}
        self.of_adapters = 0
        self.asked: list[str] = []
        self.counted: list[Key] = []
        self.observed = Observed(Settings())
        for name, region in (("a", "eu"), ("b", "eu"), ("c", "us")):
            self.observed.pods.put(gateway(name, region, name))
        self.observed.pods.put(gateway("starting", "eu", "starting", ready=False))
        now = asyncio.get_running_loop().time
        self.watch = CanaryWatch(self.observed, self.counted.append, self.read, monotonic=now)

    async def read(self, address: str) -> str:
        self.asked.append(address)
        count = self.calls.get(address, 0)
        if count is None:
            raise TimeoutError
        found = "# TYPE envoy_tomoul_trial_calls_total counter\n"
        for model, calls in (("acme/chat", count), ("acme/chat-legal", self.of_adapters), ("acme/code", 50)):
            labels = f'model="{model}",trial="canary",answered_by="canary",status="200",code=""'
            found += f"envoy_tomoul_trial_calls_total{{{labels}}} {calls}\n"
        return found

    def follow(self, revision: str = "one", ready: bool = True) -> None:
        self.watch.follow(MODEL, {DEPLOYMENT: Tried("eu", ("acme/chat", "acme/chat-legal"), revision, ready)})

    @property
    def counts(self) -> tuple[int, tuple[str, ...]]:
        fact = self.observed.world().facts.canaries[DEPLOYMENT]
        return fact.canary.calls, tuple(fact.unreadable)


@pytest.fixture
async def gateways() -> Gateways:
    return Gateways()


async def test_the_live_gateways_of_the_canarys_region_are_asked_and_the_model_hears_of_it(gateways: Gateways) -> None:
    gateways.follow()
    await gateways.watch.count()
    assert sorted(gateways.asked) == ["a", "b"]
    gateways.calls = {"a": 3, "b": 4}
    await gateways.watch.count()
    assert gateways.counts == (7, ())
    assert gateways.counted == [MODEL, MODEL]


async def test_calls_to_the_models_adapters_are_calls_to_its_canary(gateways: Gateways) -> None:
    gateways.follow()
    await gateways.watch.count()
    gateways.calls, gateways.of_adapters = {"a": 3}, 5
    await gateways.watch.count()
    assert gateways.counts == (3 + 2 * 5, ())


async def test_a_gateway_that_gives_no_answer_is_named(gateways: Gateways) -> None:
    gateways.follow()
    await gateways.watch.count()
    gateways.calls = {"a": 3, "b": None}
    await gateways.watch.count()
    assert gateways.counts == (3, ("b",))


async def test_no_gateway_is_asked_while_no_canary_takes_calls(gateways: Gateways) -> None:
    running = asyncio.create_task(gateways.watch.run())
    gateways.follow(ready=False)
    await asyncio.sleep(10 * PERIOD_SECONDS)
    assert gateways.asked == []
    gateways.follow()
    await asyncio.sleep(PERIOD_SECONDS / 2)
    assert sorted(gateways.asked) == ["a", "b"]
    gateways.watch.follow(MODEL, {})
    await asyncio.sleep(10 * PERIOD_SECONDS)
    assert len(gateways.asked) == 2
    assert gateways.observed.world().facts.canaries == {}
    running.cancel()


async def test_a_canary_that_is_not_ready_any_more_is_still_counted(gateways: Gateways) -> None:
    gateways.follow()
    await gateways.watch.count()
    gateways.follow(ready=False)
    gateways.calls = {"a": 2}
    await gateways.watch.count()
    assert gateways.counts == (2, ())


async def test_another_revision_is_counted_anew(gateways: Gateways) -> None:
    gateways.follow()
    await gateways.watch.count()
    gateways.calls = {"a": 5}
    await gateways.watch.count()
    gateways.follow("two")
    assert gateways.observed.world().facts.canaries == {}
    await gateways.watch.count()
    assert gateways.counts == (0, ())
