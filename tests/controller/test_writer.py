"""How often the API server is asked to change something."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tomoul.controller.lease import Lease
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.writer import Writer
from tomoul.kube.errors import Throttled
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest

WORKERS = 32


class Busy:
    """An API server that has no room for a while, and says when to come again."""

    def __init__(self, seconds: float, retry_after: float) -> None:
        self._until = asyncio.get_running_loop().time() + seconds
        self._retry_after = retry_after
        self.refused, self.done = 0, 0

    async def apply(self, manifest: Manifest, **_: object) -> Manifest:
        await asyncio.sleep(0.01)
        if asyncio.get_running_loop().time() < self._until:
            self.refused += 1
            raise Throttled("429", self._retry_after)
        self.done += 1
        return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}


@pytest.mark.looptime
async def test_an_api_server_that_asks_to_wait_is_left_alone_by_all_workers_however_many_objects_there_are() -> None:
    server = Busy(60, retry_after=5)
    writer = Writer(
        cast(Any, server),
        cast(Lease, SimpleNamespace(held=True)),
        Observed(Settings()),
        Metrics(),
        monotonic=asyncio.get_running_loop().time,
    )
    objects = iter(range(1500))

    async def work() -> None:
        for number in objects:
            name = f"chat-{number}"
            with contextlib.suppress(Throttled):
                await writer.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    assert WORKERS <= server.refused <= WORKERS * (60 / 5 + 1)
    assert server.done == 1500 - server.refused
