"""Resync: one list that brings a Store to what the API server has, whatever its watch has missed.

A deletion is inferred only for objects last observed before the list began, and is confirmed by a read of that object;
a listed object never overwrites one that was observed after the list began. So a list may run beside a watch.
"""

from collections.abc import Mapping
from typing import TypeVar

from tomoul.kube.client import KubeClient
from tomoul.kube.errors import NotFound, Unavailable
from tomoul.kube.resources import key_of
from tomoul.kube.store import Store

T = TypeVar("T")


async def resync(client: KubeClient, store: Store[T]) -> str:
    """List the store's kind, repair the store, and return the resourceVersion from which a watch goes on.

    Raises KubeError; what was repaired until then stays.
    """
    began, newest = store.tick(), store.newest
    listing = await client.list(store.resource, selector=store.selector, only=store.only)
    store.heard()
    version = int(listing.resource_version)
    if store.is_stale(version, newest):
        raise Unavailable(f"a list of version {version} is older than {newest}, which was seen before: it is not used")
    for item in listing.items:
        store.replace(item, began)
    for key in store.suspects({key_of(item) for item in listing.items}, began):
        asked = store.tick()
        try:
            item = await client.get(store.resource, key)
        except NotFound:
            store.drop(key, asked)
            continue
        if selects(store.selector, item["metadata"].get("labels") or {}):
            store.replace(item, asked)
        else:
            store.drop(key, asked)
    store.forget_deleted(began)
    store.listed(version)
    store.synced = True
    return listing.resource_version


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels match a selector of the forms `a`, `a=b` and `a,b=c`."""
    for term in filter(None, selector.split(",")):
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
