"""Resync beside a watch, in every order in which their steps can come."""

import contextlib
from collections.abc import AsyncIterator, Coroutine, Generator
from types import coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kube.objects import service
from tomoul.kube.client import Listing
from tomoul.kube.errors import NotFound, Unavailable
from tomoul.kube.resources import SERVICES, Resource
from tomoul.kube.resync import resync, selects
from tomoul.kube.store import BELIEVE_SECONDS, Change, Store
from tomoul.plan.world import Key

NAMES = ("a", "b")


@coroutine
def pause() -> Generator[None]:
    """Here the test may do something else before the coroutine goes on."""
    yield


class Cluster:
    """An API server, the events that its watch has not delivered yet, and a client whose every call takes a while."""

    def __init__(self) -> None:
        self.version = 0
        self.objects: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()
        self.pending: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # by uid: kopf keeps their order and no other

    def write(self, name: str) -> None:
        self.version += 1
        uid = self.objects[name]["metadata"]["uid"] if name in self.objects else f"{name}{self.version}"
        self.objects[name] = service(name, self.version, uid=uid)
        self.pending.setdefault(uid, []).append(("MODIFIED", self.objects[name]))

    def delete(self, name: str) -> None:
        if name not in self.objects:
            return
        self.version += 1
        uid = self.objects.pop(name)["metadata"]["uid"]
        self.deleted.add(uid)
        self.pending.setdefault(uid, []).append(("DELETED", service(name, self.version, uid=uid)))

    def break_watch(self) -> None:
        """410 Gone: what was not delivered never is; kopf lists what exists now."""
        self.pending = {item["metadata"]["uid"]: [("ADDED", item)] for item in self.objects.values()}

    def deliver(self, store: Store[Any], choice: int) -> None:
        uids = sorted(uid for uid, events in self.pending.items() if events)
        if uids:
            kind, item = self.pending[uids[choice % len(uids)]].pop(0)
            (store.remove if kind == "DELETED" else store.put)(item)

    async def pages(self, resource: Resource, *, selector: str = "", **_: object) -> AsyncIterator[Listing]:
        await pause()
        items, version = list(self.objects.values()), str(self.version)
        for start in range(0, max(1, len(items)), 2):
            await pause()
            yield Listing(items[start : start + 2], version)

    async def get(self, resource: Resource, key: Key) -> dict[str, Any]:
        await pause()
        item = self.objects.get(key.name)
        await pause()
        if item is None:
            raise NotFound(key.name)
        return item


def finish(running: Coroutine[Any, Any, str]) -> None:
    with contextlib.suppress(StopIteration):
        while True:
            running.send(None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("deliver"), st.integers(0, 5)),
        st.tuples(st.just("break watch"), st.none()),
        st.tuples(st.just("resync"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_in_whatever_order_watch_and_list_come_no_living_object_is_dropped_and_the_store_ends_right(
    steps: list[tuple[str, Any]],
) -> None:
    cluster = Cluster()
    versions: dict[Key, int] = {}

    def check(change: Change[tuple[str, int]]) -> None:
        if change.new is None:
            assert change.old is not None
            assert change.old[0] in cluster.deleted, f"{change.old[0]} lives and was dropped"
        else:
            assert change.new[1] >= versions.get(change.key, 0), f"{change.key} went back in time"
            versions[change.key] = change.new[1]

    store = Store(
        SERVICES,
        lambda item: (item["metadata"]["uid"], int(item["metadata"]["resourceVersion"])),
        listener=check,
    )
    running: Coroutine[Any, Any, str] | None = None
    for step, argument in steps:
        if step == "write":
            cluster.write(argument)
        elif step == "delete":
            cluster.delete(argument)
        elif step == "deliver":
            cluster.deliver(store, argument)
        elif step == "break watch":
            cluster.break_watch()
        else:
            running = running or resync(cluster, store)  # type: ignore[arg-type]
            try:
                running.send(None)
            except StopIteration:
                running = None
    if running is not None:
        finish(running)
    while any(cluster.pending.values()):
        cluster.deliver(store, 0)
    finish(resync(cluster, store))  # type: ignore[arg-type]
    assert {key.name: value[0] for key, value in store.items()} == {
        name: item["metadata"]["uid"] for name, item in cluster.objects.items()
    }
    assert store.synced


def test_an_object_that_lost_the_label_is_dropped() -> None:
    cluster = Cluster()
    cluster.write("a")
    store = Store(SERVICES, lambda item: item["metadata"]["uid"], selector="owner=us")
    store.put(service("a", 1, uid="a1", labels={"owner": "us"}))

    async def nothing_matches(resource: Resource, *, selector: str = "", **_: object) -> AsyncIterator[Listing]:
        assert selector == "owner=us"
        yield Listing([], "1")

    cluster.pages = nothing_matches  # type: ignore[method-assign]
    finish(resync(cluster, store))  # type: ignore[arg-type]
    assert not store


def test_selectors_are_read_as_the_server_reads_them() -> None:
    assert selects("", {})
    assert selects("a", {"a": ""})
    assert selects("a=b,c", {"a": "b", "c": "d"})
    assert not selects("a=b", {"a": "c"})
    assert not selects("a", {"b": "a"})


def stale(store: Store[Any], version: int) -> None:
    """A list of nothing, of that version."""
    cluster = Cluster()
    cluster.version = version
    finish(resync(cluster, store))  # type: ignore[arg-type]


def test_a_list_that_is_older_than_what_was_seen_before_it_began_is_not_used() -> None:
    now = [0.0]
    store = Store(SERVICES, lambda item: item["metadata"]["uid"], monotonic=lambda: now[0])
    store.put(service("a", 7))
    with pytest.raises(Unavailable, match="a list of version 6 is older than 7"):
        stale(store, 6)
    assert set(store) == {Key("default", "a")}
    assert not store.synced
    stale(store, 7)
    assert not store


def test_lists_that_stay_older_are_believed_in_the_end_since_data_may_have_been_restored() -> None:
    now = [0.0]
    store = Store(SERVICES, lambda item: item["metadata"]["uid"], monotonic=lambda: now[0])
    store.put(service("a", 7))
    now[0] = BELIEVE_SECONDS + 1
    stale(store, 6)
    assert not store
