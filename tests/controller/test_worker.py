"""The workers leave the event loop to others between two keys."""

import asyncio
from contextlib import suppress
from typing import cast

import pytest

from tomoul.controller.context import Context
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.metrics import Metrics
from tomoul.controller.worker import RECONCILERS, work
from tomoul.controller.workqueue import WorkQueue
from tomoul.plan.world import Key


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
