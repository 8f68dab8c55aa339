"""Resync: one list that brings a Store to what the API server has, whatever its watch has missed.

A deletion is inferred only for objects last observed before the list began, and is confirmed by a read of that object;
a listed object never overwrites one that was observed after the list began. So a list may run beside a watch.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from tomoul.kube.client import KubeClient
from tomoul.kube.errors import KubeError, NotFound, Unavailable
from tomoul.kube.resources import key_of
from tomoul.kube.store import Store
from tomoul.plan.world import Key

T = TypeVar("T")


async def resync(client: KubeClient, store: Store[T], moves: Callable[[], None] = lambda: None) -> str:
    """List the store's kind, repair the store, and return the resourceVersion from which a watch goes on.

    `moves` is called after each answer. Raises KubeError, which the store keeps; what was repaired until then stays.
    """
    try:
        version = await _resync(client, store, moves)
    except KubeError as error:
        store.unlisted = str(error)
        raise
    store.unlisted = ""
    return version


async def _resync(client: KubeClient, store: Store[T], moves: Callable[[], None]) -> str:
    began, newest = store.tick(), store.newest
    version, listed = 0, set[Key]()
    async for page in client.pages(store.resource, selector=store.selector, only=store.only):
        store.heard()
        moves()
        version = int(page.resource_version)
        if store.is_stale(version, newest):
            words = f"a list of version {version} is older than {newest}, which was seen before: it is not used"
            raise Unavailable(words)
        for item in page.items:
            store.replace(item, began)
            listed.add(key_of(item))
        del page  # the next one is not to be in memory beside it
    for key in store.suspects(listed, began):
        asked = store.tick()
        try:
            item = await client.get(store.resource, key)
        except NotFound:
            store.drop(key, asked)
            continue
        finally:
            moves()
        if selects(store.selector, item["metadata"].get("labels") or {}):
            store.replace(item, asked)
        else:
            store.drop(key, asked)
    store.forget_deleted(began)
    store.listed(version)
    store.synced = True
    return str(version)


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels match a selector of the forms `a`, `a=b` and `a,b=c`."""
    for term in filter(None, selector.split(",")):
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
