"""Kinds of other projects that come, go, and may not be listed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.optional import follow_optional
from tomoul.kube.client import Listing, WatchEvent
from tomoul.kube.errors import Forbidden
from tomoul.kube.resources import Resource
from tomoul.plan.multinode import LWS_API
from tomoul.plan.settings import Settings

pytestmark = pytest.mark.looptime


class Server:
    """Lists nothing once it may be listed, and watches in silence."""

    def __init__(self) -> None:
        self.refuses = True

    async def pages(self, resource: Resource, **_: object) -> AsyncIterator[Listing]:
        if self.refuses:
            raise Forbidden("403: no")
        yield Listing([], "7")

    async def watch(self, resource: Resource, **_: object) -> AsyncIterator[WatchEvent]:
        await asyncio.Event().wait()
        yield WatchEvent("BOOKMARK", {})


def counted(metrics: Metrics, outcome: str) -> float:
    return (
        metrics.registry.get_sample_value("tomoul_resyncs_total", {"kind": "LeaderWorkerSet", "outcome": outcome})
        or 0.0
    )


async def test_a_kind_that_is_there_and_may_not_be_listed_is_counted_for_the_alert_and_heard_of_once_it_may() -> None:
    observed, metrics, told, server = Observed(Settings()), Metrics(), list[str](), Server()
    client: Any = server
    following = asyncio.create_task(follow_optional(client, observed, told.append, metrics, relist_seconds=90))
    await asyncio.sleep(10)
    assert (counted(metrics, "failed"), told) == (0, []), "a kind that is not there is not missed"
    api = {"metadata": {"name": LWS_API, "uid": "u", "resourceVersion": "1"}, "spec": {}}
    observed.apis.put(api)
    await asyncio.sleep(1800)
    assert counted(metrics, "failed") >= 2, "what the alert TomoulListsFail goes by"
    assert observed.leader_worker_sets.unlisted == "403: no"
    server.refuses = False
    await asyncio.sleep(60)
    assert told == [LWS_API]
    assert (counted(metrics, "done"), observed.leader_worker_sets.unlisted) == (1, "")
    observed.apis.remove({"metadata": {**api["metadata"], "resourceVersion": "2"}})
    await asyncio.sleep(5)
    assert not observed.leader_worker_sets.synced
    following.cancel()
