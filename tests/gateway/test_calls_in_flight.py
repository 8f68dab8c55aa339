"""What autoscalers go by: the calls in flight to each pool, and those that found no replica, of a real Envoy."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import NAMESPACE, model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import COMPLETION, Answer, FakeEngine, Received, Reply, call, reply
from tomoul.api.routingtable import PoolName
from tomoul.api.scaling import Scaling
from tomoul.controller.scaling.demand import STATS_QUERY, Demand, Reading, parse_stats
from tomoul.controller.scaling.sampler import clusters_of
from tomoul.plan.scaling import ScaledPool
from tomoul.plan.world import Key

NOT_STORED = {"mode": "Tenant", "noStore": "NotStored"}
ROUTES = [
    model("acme/busy", regions=["eu-west", "us-east"], fallback=["us-east"], pools=pools("busy")),
    model("acme/empty", cache=NOT_STORED, pools=pools("empty", "empty-no-store")),
    model("acme/cut.off", regions=["eu-west", "us-east"], fallback=["us-east"], cache=NOT_STORED,
          pools=pools("cut-off", "cut-off-no-store")),
]  # fmt: skip
NOBODY = "http://127.0.0.1:9"
"""Another region's gateways, which are away."""


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Until it is set, the engine answers nothing."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def busy(gateway: Gateway, held: threading.Event) -> Iterator[Gateway]:
    """A gateway whose pool `busy` has an engine, and whose other pools have none."""

    def behave(request: Received) -> list[Reply]:
        held.wait(30)
        return reply(200, COMPLETION)

    engine = FakeEngine("busy", behave=behave)
    engine.start()
    gateway.publish([table(ROUTES, remoteGateways=[{"region": "us-east", "url": NOBODY}])], {"busy": [engine]})
    yield gateway
    engine.stop()


def readings(gateway: Gateway) -> Mapping[str, Reading]:
    return parse_stats(gateway.admin(f"/stats/prometheus?{urlencode(STATS_QUERY)}"))


def calls(gateway: Gateway, demand: Demand, model_id: str, service: str, pool: PoolName = "default") -> int | None:
    """Calls to a pool after another look at the gateway."""
    demand.hear("pod", readings(gateway))
    scaling = Scaling(max_replicas=1, target_in_flight=1)
    return demand.calls(clusters_of(ScaledPool(Key(NAMESPACE, service), "eu-west", model_id, pool, scaling)), ["pod"])


def ask(gateway: Gateway, model_id: str, *headers: tuple[str, str]) -> Answer:
    return call(gateway.port, body={"model": model_id, "messages": [{}]}, headers=list(headers))


def test_calls_are_in_flight_from_their_arrival_to_their_last_byte_whether_they_name_the_region_or_not(
    busy: Gateway, held: threading.Event
) -> None:
    now = [0.0]
    demand = Demand(stale_seconds=60, monotonic=lambda: now[0])
    assert calls(busy, demand, "acme/busy", "busy") == 0, "what is sent is counted from here"
    with ThreadPoolExecutor(5) as clients:
        asked = [clients.submit(ask, busy, "acme/busy", ("x-tomoul-region", "eu-west")) for _ in range(3)]
        asked += [clients.submit(ask, busy, "acme/busy") for _ in range(2)]
        eventually(lambda: calls(busy, demand, "acme/busy", "busy") == 5)
        held.set()
        assert [each.result().status for each in asked] == [200] * 5
    eventually(lambda: calls(busy, demand, "acme/busy", "busy") == 1)
    now[0] = 61.0
    assert calls(busy, demand, "acme/busy", "busy") == 0, "none was sent since"
    assert ask(busy, "acme/busy").status == 200
    eventually(lambda: calls(busy, demand, "acme/busy", "busy") == 1)


def test_a_no_store_call_is_refused_until_its_pool_has_woken_and_never_answered_by_the_pool_with_a_cache(
    gateway: Gateway,
) -> None:
    cached, uncached = FakeEngine("cached"), FakeEngine("uncached")
    demand, no_store = Demand(stale_seconds=60), ("x-tomoul-cache", "no-store")

    def wanted(service: str, pool: PoolName) -> int | None:
        return calls(gateway, demand, "acme/empty", service, pool)

    for engine in (cached, uncached):
        engine.start()
    try:
        awake = {"empty": [cached], "empty-no-store": [uncached]}
        asleep = {"empty": [cached]}
        gateway.publish([table(ROUTES)], asleep)
        assert wanted("empty-no-store", "no-store") == 0
        for headers in ([no_store], [no_store, ("x-tomoul-region", "eu-west")]):
            refused = ask(gateway, "acme/empty", *headers)
            assert (refused.status, refused.error["code"]) == (503, "region_capacity_unavailable")
            assert 0 < int(refused.header("retry-after") or 0) <= 60
        eventually(lambda: wanted("empty-no-store", "no-store") == 1)
        assert wanted("empty", "default") == 0
        assert ask(gateway, "acme/empty").status == 200, "other calls do not wait for it"
        gateway.publish([table(ROUTES)], awake)
        assert ask(gateway, "acme/empty", no_store).status == 200
        gateway.publish([table(ROUTES)], asleep)
        assert ask(gateway, "acme/empty", no_store).status == 503
        assert (len(cached.received), len(uncached.received)) == (1, 1)
    finally:
        for engine in (cached, uncached):
            engine.stop()


REFUSALS: list[tuple[str, str, PoolName, list[tuple[str, str]]]] = [
    ("acme/empty", "empty", "default", []),
    ("acme/empty", "empty", "default", [("x-tomoul-region", "eu-west")]),
    ("acme/empty", "empty-no-store", "no-store", [("x-tomoul-cache", "no-store")]),
    ("acme/cut.off", "cut-off", "default", []),
    ("acme/cut.off", "cut-off", "default", [("x-tomoul-region", "eu-west")]),
    ("acme/cut.off", "cut-off-no-store", "no-store", [("x-tomoul-cache", "no-store")]),
]


@pytest.mark.parametrize(("model_id", "service", "pool", "headers"), REFUSALS)
def test_a_call_that_no_region_can_answer_asks_for_a_replica_of_its_pool_here_and_of_no_other(
    busy: Gateway, model_id: str, service: str, pool: PoolName, headers: list[tuple[str, str]]
) -> None:
    demand = Demand(stale_seconds=60)
    assert calls(busy, demand, model_id, service, pool) == 0
    refused = ask(busy, model_id, *headers)
    assert (refused.status, refused.error["code"]) == (503, "region_capacity_unavailable")
    assert 0 < int(refused.header("retry-after") or 0) <= 60
    eventually(lambda: calls(busy, demand, model_id, service, pool) == 1)
    others = {(name, of, which) for name, of, which, _ in REFUSALS if of != service}
    assert {calls(busy, demand, *other) for other in others} == {0}
