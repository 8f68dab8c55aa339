"""The election, with clocks of our own and an API server that is a dict."""

import asyncio
import copy
from typing import Any

import pytest

from tomoul.controller.lease import LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD, Lease, LeaseLostError, RestoredError
from tomoul.kube.errors import Conflict, NotFound, Unavailable
from tomoul.kube.resources import Resource
from tomoul.plan.world import Key

KEY = Key("tomoul-system", "tomoul-operator")


class OneLease:
    """An API server that knows one object."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.version = 0
        self.away = False

    async def get(self, resource: Resource, key: Key) -> dict[str, Any]:
        self._check()
        if self.item is None:
            raise NotFound(key.name)
        return copy.deepcopy(self.item)

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.item is not None:
            raise Conflict("it exists")
        return self._store(manifest)

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.item is None or manifest["metadata"]["resourceVersion"] != self.item["metadata"]["resourceVersion"]:
            raise Conflict("it has changed")
        return self._store(manifest)

    @property
    def holder(self) -> str:
        return str(self.item["spec"]["holderIdentity"]) if self.item else ""

    def _store(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.item = copy.deepcopy(manifest)
        self.item["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.item)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("no answer")


class Replica:
    """A Lease whose time the test moves: each turn is one attempt."""

    def __init__(self, server: OneLease, name: str) -> None:
        self.now = 1000.0
        self.lease = Lease(server, KEY, name, monotonic=lambda: self.now)  # type: ignore[arg-type]

    async def turn(self, seconds: float = RETRY_PERIOD) -> bool:
        self.now += seconds
        step = self.lease._renew if self.lease._mine is not None else self.lease._acquire
        await self.lease._attempt(step)
        return self.lease.held


async def test_the_first_replica_leads_and_the_second_waits() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    assert await first.turn()
    for _ in range(60):
        assert await first.turn()
        assert not await second.turn()
    assert server.holder == "first"


async def test_leader_and_others_end_where_the_data_were_restored_from_a_backup() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    backup, version = copy.deepcopy(server.item), server.version
    for _ in range(3):
        assert await first.turn()
        assert not await second.turn()
    server.item, server.version = backup, version
    for replica in (first, second):
        with pytest.raises(RestoredError, match="went back from version 4 to 1: etcd was restored"):
            await replica.turn()


async def test_a_dead_leader_is_replaced_within_twenty_seconds() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    await second.turn()
    began = second.now
    while not await second.turn():
        assert second.now - began < 20
    assert server.holder == "second"
    assert server.item is not None
    assert server.item["spec"]["leaseTransitions"] == 1


async def test_a_released_lease_is_taken_at_the_next_attempt() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    await second.turn()
    await first.lease.release()
    assert not first.lease.held
    assert await second.turn()


async def test_a_leader_that_was_paused_does_not_write_when_it_wakes() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    await second.turn()
    first.now += LEASE_DURATION + 5
    assert not first.lease.held, "already before it has asked anybody"
    while not await second.turn():
        pass
    assert not await first.turn(0)
    assert server.holder == "second"


async def test_a_leader_stops_writing_before_others_may_begin() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    await second.turn(0)
    server.away = True
    for _ in range(int(RENEW_DEADLINE / RETRY_PERIOD)):
        await first.turn()
    assert not first.lease.held
    server.away = False
    second.now += RENEW_DEADLINE + RETRY_PERIOD
    assert not await second.turn(0), "there are seconds between the two"


async def test_clocks_that_differ_by_ten_minutes_do_not_matter() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    assert server.item is not None
    server.item["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
    assert not await second.turn()
    assert not await second.turn(LEASE_DURATION - 1)


async def test_of_two_that_find_no_lease_one_wins() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    held = [await first.turn(), await second.turn()]
    assert held == [True, False]


async def test_somebody_elses_annotation_on_the_lease_does_not_end_the_leader() -> None:
    server = OneLease()
    first = Replica(server, "first")
    await first.turn()
    assert server.item is not None
    server._store({**server.item, "metadata": {**server.item["metadata"], "annotations": {"x": "y"}}})
    assert await first.turn()
    assert await first.turn()


async def test_run_ends_with_an_error_once_the_lease_is_lost() -> None:
    server = OneLease()
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 20:
            server.away = True

    lease = Lease(server, KEY, "first", monotonic=lambda: now, sleep=sleep)  # type: ignore[arg-type]
    with pytest.raises(LeaseLostError, match="not renewed"):
        await lease.run()
    assert lease.acquired.is_set()
    assert now <= 20 + RENEW_DEADLINE + 2 * RETRY_PERIOD


async def test_a_lease_whose_taking_was_answered_to_nobody_is_known_as_ones_own() -> None:
    server = OneLease()
    first = Replica(server, "first")
    await first.lease._acquire()
    first.lease._mine = None  # the answer was lost on its way
    assert await first.turn()


class BlackHole(OneLease):
    """Some of its answers never come, as by a connection that something on the way has forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.renewals = 0

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.renewals += 1
        if self.renewals % 3 == 1:
            await asyncio.sleep(30)  # when the client gives a request up
            raise Unavailable("no answer")
        return await super().replace(manifest)


@pytest.mark.looptime
async def test_a_renewal_by_a_connection_that_is_dead_does_not_cost_the_lease() -> None:
    server = BlackHole()
    lease = Lease(server, KEY, "first", monotonic=asyncio.get_running_loop().time)  # type: ignore[arg-type]
    running = asyncio.create_task(lease.run())
    await asyncio.wait([running], timeout=120)
    assert not running.done(), running.exception()
    assert lease.held
    assert server.renewals > 20
    running.cancel()


@pytest.mark.looptime
async def test_a_lease_that_cannot_be_given_up_does_not_keep_the_process_from_ending() -> None:
    server = BlackHole()
    lease = Lease(server, KEY, "first", monotonic=asyncio.get_running_loop().time)  # type: ignore[arg-type]
    assert await lease._attempt(lease._acquire)
    began = asyncio.get_running_loop().time()
    await lease.release()
    assert asyncio.get_running_loop().time() - began <= RENEW_DEADLINE / 2
    assert not lease.held


async def test_a_lease_is_given_up_although_the_answer_to_its_last_renewal_was_not_waited_for() -> None:
    """As where a signal comes in the middle of it."""
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    await second.turn()
    before = first.lease._mine
    await first.turn()
    first.lease._mine = before
    await first.lease.release()
    assert await second.turn()


async def test_a_lease_that_another_has_taken_meanwhile_is_not_given_up_in_its_place() -> None:
    server = OneLease()
    first, second = Replica(server, "first"), Replica(server, "second")
    await first.turn()
    await second.turn()
    assert await second.turn(LEASE_DURATION + 1)
    await first.lease.release()
    assert server.holder == "second"
