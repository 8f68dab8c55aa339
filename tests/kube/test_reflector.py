"""The reflector's loop, with an API server that does as the test says; a real one is in test_http_client.py."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.kube.objects import service
from tomoul.kube.client import Listing, WatchEvent
from tomoul.kube.errors import Forbidden, Gone, KubeError, NotFound, Throttled, Unavailable
from tomoul.kube.reflector import reflect
from tomoul.kube.resources import SERVICES, Resource
from tomoul.kube.store import Store

pytestmark = pytest.mark.looptime


class Script:
    """Answers lists and watches from two scripts; an error is raised, and at the end of a script time stands still."""

    def __init__(self, lists: list[Listing | KubeError], watches: list[list[WatchEvent | KubeError | float]]) -> None:
        self._lists = lists
        self._watches = watches
        self.calls: list[tuple[float, str]] = []

    async def pages(self, resource: Resource, *, selector: str = "", **_: object) -> AsyncIterator[Listing]:
        self.calls.append((asyncio.get_running_loop().time(), "list"))
        if not self._lists:
            await asyncio.Event().wait()
        answer = self._lists.pop(0)
        if isinstance(answer, KubeError):
            raise answer
        yield answer

    async def watch(self, resource: Resource, *, resource_version: str, **_: object) -> AsyncIterator[WatchEvent]:
        self.calls.append((asyncio.get_running_loop().time(), f"watch from {resource_version}"))
        if not self._watches:
            await asyncio.Event().wait()
        for step in self._watches.pop(0):
            if isinstance(step, KubeError):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step


async def follow(script: Script, seconds: float) -> tuple[Store[Any], list[str]]:
    store = Store(SERVICES, lambda item: item["metadata"]["resourceVersion"])
    task = asyncio.create_task(reflect(script, store))  # type: ignore[arg-type]
    await asyncio.sleep(seconds)
    task.cancel()
    return store, [call for _, call in script.calls]


async def test_a_watch_that_ends_goes_on_where_it_was() -> None:
    bookmark = WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    changes = [[WatchEvent("ADDED", service("a", 7)), bookmark], [WatchEvent("DELETED", service("a", 11))]]
    store, calls = await follow(Script([Listing([], "5")], changes), 1)
    assert calls == ["list", "watch from 5", "watch from 9", "watch from 11"]
    assert not store


async def test_a_store_that_was_listed_already_is_watched_from_there_and_listed_only_when_that_is_too_old() -> None:
    script = Script([Listing([], "20")], [[86400.0], [1.0, Gone("too old")]])
    store = Store(SERVICES, lambda item: item["metadata"]["resourceVersion"])
    task = asyncio.create_task(reflect(script, store, since="5", relist_seconds=math.inf))  # type: ignore[arg-type]
    await asyncio.sleep(86410)
    task.cancel()
    calls = [call for _, call in script.calls]
    assert calls == ["watch from 5", "watch from 5", "list", "watch from 20"]


async def test_a_version_that_is_too_old_lists_anew_and_so_finds_what_was_deleted() -> None:
    script = Script(
        [Listing([service("a", 5)], "5"), Listing([], "20")],
        [[1.0, Gone("too old")]],
    )

    async def get(resource: Resource, key: object) -> None:
        raise NotFound("a")

    script.get = get  # type: ignore[attr-defined]
    store, calls = await follow(script, 2)
    assert calls == ["list", "watch from 5", "list", "watch from 20"]
    assert not store


async def test_a_connection_that_breaks_after_a_while_is_opened_again_without_a_list() -> None:
    script = Script([Listing([], "5")], [[60.0, Unavailable("reset")]])
    _, calls = await follow(script, 61)
    assert calls == ["list", "watch from 5", "watch from 5"]


async def test_an_api_server_that_is_away_is_asked_less_and_less_often() -> None:
    script = Script([Unavailable("no") for _ in range(8)], [])
    store, calls = await follow(script, 100)
    assert 6 <= len(calls) <= 9
    assert not store.synced


async def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    script = Script([Throttled("slow down", 20.0), Listing([], "5")], [])
    await follow(script, 30)
    assert script.calls[1][0] >= 20


async def test_an_empty_list_is_told_once_the_store_is_synced() -> None:
    store = Store(SERVICES, lambda item: item["metadata"]["resourceVersion"])
    told: list[bool] = []
    script = Script([Unavailable("not yet"), Listing([], "5")], [])
    task = asyncio.create_task(reflect(script, store, on_listed=lambda: told.append(store.synced)))  # type: ignore[arg-type]
    await asyncio.sleep(2)
    task.cancel()
    assert told == [True]


async def test_a_server_that_finds_its_own_newest_list_too_old_is_asked_less_and_less_often() -> None:
    script = Script([Listing([], "5") for _ in range(99)], [[Gone("too old")] for _ in range(99)])
    _, calls = await follow(script, 100)
    assert 6 <= calls.count("list") <= 9


async def test_a_version_that_gets_too_old_now_and_then_is_replaced_within_a_second() -> None:
    script = Script([Listing([], "5") for _ in range(99)], [[10.0, Gone("too old")] for _ in range(99)])
    _, calls = await follow(script, 100)
    assert calls.count("list") >= 9


async def test_a_server_that_ends_each_watch_at_once_is_asked_less_and_less_often_and_not_for_lists() -> None:
    """As one that is shutting down, or a proxy with a short temper."""
    script = Script([Listing([], "5")], [[] for _ in range(999)])
    _, calls = await follow(script, 100)
    assert calls[:2] == ["list", "watch from 5"]
    assert 6 <= calls.count("watch from 5") <= 9
    assert calls.count("list") == 1


async def test_bookmarks_alone_do_not_excuse_a_watch_that_ends_at_once() -> None:
    bookmark = WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "5"}})
    _, calls = await follow(Script([Listing([], "5")], [[bookmark] for _ in range(999)]), 100)
    assert 6 <= calls.count("watch from 5") <= 9


async def test_a_periodic_list_that_is_refused_leaves_the_watch_to_go_on_and_comes_later() -> None:
    script = Script([Listing([], "5"), Unavailable("not now"), Listing([], "9")], [[50.0], [50.0], [500.0]])
    store = Store(SERVICES, lambda item: item["metadata"]["resourceVersion"])
    task = asyncio.create_task(reflect(script, store, relist_seconds=40))  # type: ignore[arg-type]
    await asyncio.sleep(200)
    task.cancel()
    assert [call for _, call in script.calls] == [
        "list", "watch from 5", "list", "watch from 5", "list", "watch from 9",
    ]  # fmt: skip


async def test_a_watch_that_a_busy_server_refuses_after_a_while_is_waited_for_and_costs_no_list() -> None:
    """The API server's priority and fairness has a request wait in a queue before it says 429."""
    script = Script([Listing([], "5")], [[5.0, Throttled("busy", 20.0)] for _ in range(99)])
    await follow(script, 100)
    assert [(time, call) for time, call in script.calls] == [
        (0, "list"), (0, "watch from 5"), (25, "watch from 5"), (50, "watch from 5"), (75, "watch from 5"),
    ]  # fmt: skip


async def test_a_watch_that_may_no_longer_be_opened_is_told_and_the_next_list_says_what_may_still_be_read() -> None:
    script = Script([Listing([], "5"), Forbidden("no"), Listing([], "7")], [[Forbidden("no")]])
    told: list[KubeError] = []
    store = Store(SERVICES, lambda item: item["metadata"]["resourceVersion"])
    task = asyncio.create_task(reflect(script, store, on_error=told.append))  # type: ignore[arg-type]
    await asyncio.sleep(20)
    task.cancel()
    assert [call for _, call in script.calls] == ["list", "watch from 5", "list", "list", "watch from 7"]
    assert [type(each) for each in told] == [Forbidden, Forbidden]
