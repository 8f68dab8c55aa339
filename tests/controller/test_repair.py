"""Lists of all kinds, of an API server that takes its time."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from tomoul.controller.health import Health
from tomoul.controller.lease import Lease
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.options import OperatorOptions
from tomoul.controller.repair import sync
from tomoul.controller.run import Operator
from tomoul.controller.workqueue import WorkQueue
from tomoul.kube.client import Listing
from tomoul.kube.errors import Forbidden, NotFound, Unavailable
from tomoul.kube.resources import NETWORK_POLICIES, NODES, Resource
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

pytestmark = pytest.mark.looptime


class Slow:
    """Needs 25 s for each page, of which each kind has two; the first list of nodes is never answered."""

    def __init__(self, forbidden: Resource | None = None) -> None:
        self.lists_of_nodes = 0
        self.forbidden = forbidden

    async def pages(self, resource: Resource, **_: object) -> AsyncIterator[Listing]:
        if resource == self.forbidden:
            raise Forbidden("403: you may not list that")
        if resource == NODES:
            self.lists_of_nodes += 1
            if self.lists_of_nodes == 1:
                await asyncio.sleep(30)
                raise Unavailable("no answer in time")
        for _page in range(2):
            await asyncio.sleep(25)
            yield Listing([], "7")


def judged(observed: Observed) -> Health:
    now = asyncio.get_running_loop().time
    lag = Gauge("lag", "", registry=CollectorRegistry())
    lease = Lease(None, Key("", ""), "me", monotonic=now)  # type: ignore[arg-type]
    return Health(observed, WorkQueue(), lease, lag, 90, monotonic=now)


async def test_an_operator_whose_first_lists_take_many_minutes_is_alive_all_the_while() -> None:
    observed = Observed(Settings())
    health = judged(observed)
    client: Any = Slow()
    syncing = asyncio.create_task(sync(client, observed, health, Metrics()))
    began = asyncio.get_running_loop().time()
    while not syncing.done():
        assert "list" not in health.alive()
        await asyncio.wait([syncing], timeout=10)
    assert asyncio.get_running_loop().time() - began > 600
    assert observed.synced
    await asyncio.sleep(600)
    assert health.alive().startswith("no list has moved for 6")


async def test_a_kind_that_may_not_be_listed_is_named_with_the_reason_by_the_readiness_of_the_operator() -> None:
    observed = Observed(Settings())
    health = judged(observed)
    client: Any = Slow(NETWORK_POLICIES)
    syncing = asyncio.create_task(sync(client, observed, health, Metrics()))
    await asyncio.wait([syncing], timeout=1500)
    assert health.ready() == "not listed yet: networkpolicies (403: you may not list that)"
    client.forbidden = None
    await asyncio.wait([syncing], timeout=100)
    assert health.ready() == ""


async def test_an_operator_that_waits_for_its_crds_or_for_the_api_server_is_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Nothing:
        async def pages(self, resource: Resource, **_: object) -> AsyncIterator[Listing]:
            raise NotFound("404 page not found")
            yield

    client: Any = Nothing()
    operator, moves = Operator(OperatorOptions(), client), list[float]()
    monkeypatch.setattr(operator._health, "lists_move", lambda: moves.append(asyncio.get_running_loop().time()))
    waiting = asyncio.create_task(operator._kinds_exist())
    await asyncio.wait([waiting], timeout=600)
    waiting.cancel()
    assert 590 < moves[-1] <= 600
    assert max(after - before for before, after in pairwise(moves)) < 60
