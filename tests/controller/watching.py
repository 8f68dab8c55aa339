"""Watching: what the operator makes of the objects that it sees, as far as it only enqueues."""

import asyncio
from typing import Any

from tomoul.controller.keys import WorkKey
from tomoul.controller.observed import Observed
from tomoul.controller.triggers import Triggers
from tomoul.controller.workqueue import WorkQueue
from tomoul.plan.settings import Settings

Object = dict[str, Any]


class Watching:
    """An operator's eyes: `see` an object, then `work` lists what is to be reconciled within two seconds."""

    def __init__(self, settings: Settings) -> None:
        self.observed = Observed(settings)
        self.queue: WorkQueue[WorkKey] = WorkQueue(now=asyncio.get_running_loop().time)
        self.triggers = Triggers(self.observed, self.queue, monotonic=asyncio.get_running_loop().time)
        self.observed.listener = self.triggers
        self.version = 0

    def see(self, item: Object, gone: bool = False) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        store = next(store for resource, store in self.observed.stores.items() if resource.kind == item["kind"])
        (store.remove if gone else store.put)(item)

    async def work(self, kind: str = "") -> set[str]:
        """Keys, all or those of a kind, that are to be reconciled within two seconds."""
        await asyncio.sleep(2)
        found = set()
        while len(self.queue):
            key = await self.queue.get()
            self.queue.done(key)
            found.add(str(key))
        return {key for key in found if key.startswith(kind)}
