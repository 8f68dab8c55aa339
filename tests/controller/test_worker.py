"""The workers leave the event loop to others between two keys, and keys alone that cannot be done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import cast

import pytest

from tomoul.controller.context import Context
from tomoul.controller.converge import NotYetError, Refused
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.metrics import Metrics
from tomoul.controller.worker import RECONCILERS, work
from tomoul.controller.workqueue import WorkQueue
from tomoul.kube.errors import Conflict, Forbidden, InternalError, Throttled, Unavailable
from tomoul.plan.world import Key


@asynccontextmanager
async def working(
    monkeypatch: pytest.MonkeyPatch, reconcile: Callable[[Context, Key], Awaitable[None]], metrics: Metrics
) -> AsyncIterator[WorkQueue[WorkKey]]:
    """A queue with one worker, for whom models are reconciled by `reconcile`."""
    monkeypatch.setitem(cast(dict[Kind, object], RECONCILERS), Kind.MODEL, reconcile)
    queue: WorkQueue[WorkKey] = WorkQueue(now=asyncio.get_running_loop().time, jitter=lambda: 1.0)
    worker = asyncio.create_task(work(cast(Context, None), queue, metrics))
    yield queue
    worker.cancel()
    with suppress(asyncio.CancelledError):
        await worker


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("error", "outcome", "times", "longest"),
    [
        (NotYetError("its namespace is being deleted"), "not_yet", 25, 30),
        (Unavailable("503"), "unavailable", 17, 60),
        (Throttled("429", 40.0), "throttled", 13, 60),
        (Conflict("409"), "conflict", 17, 60),
        (Forbidden("403"), "forbidden", 11, 300),
        (Refused({"eu": "no"}), "refused", 11, 300),
        (Refused({"eu": "no"}, InternalError("no address")), "refused", 17, 60),
        (ValueError("a bug"), "bug", 11, 300),
    ],
)
async def test_what_cannot_be_done_is_tried_less_and_less_often_but_never_not_at_all(
    monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str, times: int, longest: float
) -> None:
    tried: list[float] = []

    async def reconcile(_context: Context, _key: Key) -> None:
        tried.append(asyncio.get_running_loop().time())
        if len(tried) <= times:
            raise error

    metrics, key = Metrics(), WorkKey(Kind.MODEL, "models", "chat")
    async with working(monkeypatch, reconcile, metrics) as queue:
        queue.add(key)
        await asyncio.sleep(3600)
        assert queue.attempts(key) == 0, "what has gone well in the end begins anew"
    assert len(tried) == times + 1
    pauses = [after - before for before, after in pairwise(tried)]
    assert max(pauses) == pauses[-1] == pytest.approx(longest)
    assert metrics.reconciles.labels("model", outcome)._value.get() == times
    assert metrics.reconciles.labels("model", "done")._value.get() == 1


async def test_many_keys_with_nothing_to_write_do_not_keep_the_lease_from_being_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_on: list[str] = []

    async def reconcile(_context: Context, key: Key) -> None:
        worked_on.append(key.name)

    monkeypatch.setitem(cast(dict[Kind, object], RECONCILERS), Kind.MODEL, reconcile)
    queue: WorkQueue[WorkKey] = WorkQueue()
    for number in range(1000):
        queue.add(WorkKey(Kind.MODEL, "models", f"model-{number}"))
    workers = [asyncio.create_task(work(cast(Context, None), queue, Metrics())) for _ in range(4)]
    for turn in range(1, 11):
        await asyncio.sleep(0)
        assert len(worked_on) <= 4 * turn
    for each in workers:
        each.cancel()
        with suppress(asyncio.CancelledError):
            await each
