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
import math
import random
from collections.abc import Callable
from typing import TypeVar

from tomoul.kube.client import KubeClient, WatchEvent
from tomoul.kube.errors import Gone, KubeError, Unavailable
from tomoul.kube.resync import resync
from tomoul.kube.store import Store

T = TypeVar("T")
logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
WATCHED = 1.0
"""Seconds after which a watch that has told nothing may end without having us wait before the next one."""
SETTLED = 5.0
"""Seconds of watching after which an error is a new one, not the last one again."""
LONGEST_WATCH = 300.0


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

    With `since`, the version of a list that the store has taken in, the first thing is the watch. A list comes where
    there is no version to go on from, or the server does not know it any more; and every `relist_seconds` (infinity:
    never), to repair what the watch may have missed. `on_listed` is called after each complete list: an empty one is no
    change that the store's listener could hear of, and yet the store is `synced` by it. `on_error` gets each error
    before the wait.
    """
    version, until, delay = since, _now() + relist_seconds, FIRST_DELAY
    while True:
        wait, began, heard = 0.0, math.inf, False
        try:
            if not version or _now() >= until:
                version = await resync(client, store)
                until = _now() + relist_seconds
                on_listed()
            began, seconds = _now(), max(1.0, min(LONGEST_WATCH, until - _now()))
            async for event in client.watch(
                store.resource,
                resource_version=version,
                selector=store.selector,
                only=store.only,
                timeout_seconds=int(seconds),
            ):
                version = event.object["metadata"]["resourceVersion"]
                heard = heard or event.type != "BOOKMARK"
                _take(store, event)
            lasted = _now() - began
            if not heard and lasted < WATCHED:
                wait = delay * random.uniform(0.8, 1.2)  # noqa: S311
                words = "%s: the watch ended after %.1f s and told nothing; again in %.1f s"
                logger.info(words, store.resource.plural, lasted, wait)
            settled = heard or lasted >= SETTLED
        except KubeError as error:
            on_error(error)
            wait = max(delay * random.uniform(0.8, 1.2), getattr(error, "retry_after", None) or 0.0)  # noqa: S311
            # A version gets too old now and then; but a server that says so of its newest list says it at once again.
            level = logging.INFO if isinstance(error, Gone) else logging.WARNING
            logger.log(level, "%s: %s; again in %.1f s", store.resource.plural, error, wait)
            # A server that is busy or away takes its time to answer, and has not said that it knows no such version.
            busy = isinstance(error, Unavailable)
            version = version if busy else ""
            until = max(until, _now() + LONGEST_DELAY)  # where the list was refused, the watch goes on meanwhile
            settled = heard or (not busy and _now() - began >= SETTLED)
        if settled:
            delay = FIRST_DELAY
        if wait:
            await asyncio.sleep(wait)
            delay = min(delay * 2, LONGEST_DELAY)


def _take(store: Store[T], event: WatchEvent) -> None:
    if event.type == "DELETED":
        store.remove(event.object)
    elif event.type == "BOOKMARK":
        store.heard()
    else:
        store.put(event.object)


def _now() -> float:
    return asyncio.get_running_loop().time()
