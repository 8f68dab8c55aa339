"""Reflector: keeps one Store like the API server by list and watch: all that an agent watches, and what operators make.

Not kopf, because an agent has to start, and to stay, without an API server, and kopf ends when it cannot read one; and
because kopf keeps a memory, a queue and a task for each object, which for the operator's children were a fifth of its
time. What people write comes by kopf (`feed.py`).

    store = Store(ENDPOINT_SLICES, project=lambda item: item, selector="tomoul.ai/region=eu-west", listener=on_change)
    tasks.create_task(reflect(client, store))       # runs until it is cancelled
    store.synced                                    # False until the first complete list
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TypeVar

from tomoul.kube.client import KubeClient
from tomoul.kube.errors import Gone, KubeError, Unavailable
from tomoul.kube.resync import resync
from tomoul.kube.store import Store

T = TypeVar("T")
logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
SETTLED = 5.0
"""Seconds of watching after which an error is a new one, not the last one again."""


async def reflect(
    client: KubeClient,
    store: Store[T],
    *,
    since: str = "",
    relist_seconds: float = 600.0,
    on_listed: Callable[[], None] = lambda: None,
    on_error: Callable[[KubeError], None] = lambda error: None,
) -> None:
    """Feed `store` for ever; errors of the API server are logged and retried after 0.5 to 30 seconds.

    With `since`, the version of a list that the store has taken in, the first thing is the watch. Every
    `relist_seconds` (infinity: never) a list repairs what the watch may have missed. `on_listed` is called after each
    complete list: an empty one is no change that the store's listener could hear of, and yet the store is `synced` by
    it. `on_error` gets each error before the wait.
    """
    delay = FIRST_DELAY
    while True:
        listed: float | None = None
        try:
            if since:
                version, since = since, ""
            else:
                version = await resync(client, store)
                on_listed()
            listed = _now()
            await _watch(client, store, version, until=listed + relist_seconds)
        except KubeError as error:
            on_error(error)
            if listed is not None and _now() - listed >= SETTLED:
                delay = FIRST_DELAY
            wait = max(delay * random.uniform(0.8, 1.2), getattr(error, "retry_after", None) or 0.0)  # noqa: S311
            # A version gets too old now and then; but a server that says so of its newest list says it at once again.
            level = logging.INFO if isinstance(error, Gone) else logging.WARNING
            logger.log(level, "%s: %s; again in %.1f s", store.resource.plural, error, wait)
            await asyncio.sleep(wait)
            delay = min(delay * 2, LONGEST_DELAY)
        else:
            delay = FIRST_DELAY


async def _watch(client: KubeClient, store: Store[T], version: str, *, until: float) -> None:
    """Follow the changes since `version`, through broken connections, until the monotonic time `until`."""
    while (left := until - _now()) > 0:
        began = _now()
        try:
            async for event in client.watch(
                store.resource,
                resource_version=version,
                selector=store.selector,
                only=store.only,
                timeout_seconds=max(1, int(min(300, left))),
            ):
                version = event.object["metadata"]["resourceVersion"]
                if event.type == "DELETED":
                    store.remove(event.object)
                elif event.type == "BOOKMARK":
                    store.heard()
                else:
                    store.put(event.object)
        except Unavailable:
            # A watch that lived for a while may end like this at any time: go on where it was. One that did not is a
            # server that is not there.
            if _now() - began < FIRST_DELAY:
                raise


def _now() -> float:
    return asyncio.get_running_loop().time()
