"""Optional kinds: those of other projects, which are used where they are installed and may come and go.

The API server has an APIService for every version of every group, custom resources included: one watch, which the
operator has anyway, tells which of them there are. kopf looks for kinds only once, so these have a reflector each.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.kube.client import KubeClient
from tomoul.kube.errors import KubeError
from tomoul.kube.reflector import reflect
from tomoul.kube.store import Store

CHECK_SECONDS = 1.0


async def follow_optional(
    client: KubeClient, observed: Observed, on_listed: Callable[[str], None], metrics: Metrics, *, relist_seconds: float
) -> None:
    """Feed the Stores of `observed.optional` for as long as their kinds exist.

    `on_listed` is called with the name of an APIService after each complete list of its kind.
    """
    running: dict[str, asyncio.Task[None]] = {}

    def listed(name: str) -> None:
        _count(metrics, observed.optional[name], "done")
        on_listed(name)

    def failed(name: str, _error: KubeError) -> None:
        if observed.optional[name].unlisted:  # not only the watch
            _count(metrics, observed.optional[name], "failed")

    async with asyncio.TaskGroup() as group:
        while True:
            installed = {name for name in observed.optional if name in observed.world().facts.apis}
            for name in sorted(installed - running.keys()):
                metrics.repairs.labels(observed.optional[name].resource.kind, "failed")  # there before the first fails
                running[name] = group.create_task(
                    reflect(
                        client,
                        observed.optional[name],
                        on_listed=partial(listed, name),
                        on_error=partial(failed, name),
                        relist_seconds=relist_seconds,
                    )
                )
            for name in sorted(running.keys() - installed):
                running.pop(name).cancel()
                _empty(observed, name)
            await asyncio.sleep(CHECK_SECONDS)


def _count(metrics: Metrics, store: Store[Any], outcome: str) -> None:
    metrics.repairs.labels(store.resource.kind, outcome).inc()


def _empty(observed: Observed, name: str) -> None:
    """With the kind its objects are gone."""
    store = observed.optional[name]
    store.synced, store.unlisted = False, ""
    for key in list(store):
        store.drop(key, store.tick())
