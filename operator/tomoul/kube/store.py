"""Store: what is known of the objects of one kind, fed by watches, by lists and by the answers to one's own writes.

What arrives is reduced at once to the projection that somebody needs, and the listener hears whether the part of it
that causes work has changed. Of two observations of an object the one with the higher resourceVersion is right,
deletions included, whatever the order in which they arrive: kopf runs one task per uid, and an answer to a write may
come before or after its watch event. Only a list may take a version back, for objects that nobody has observed since
it began (the API server's data may have been restored from a backup), and only one that is not itself a look into the
past: see `is_stale`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from tomoul.kube.client import Object
from tomoul.kube.resources import Resource, key_of
from tomoul.plan.world import Key

T = TypeVar("T")

BELIEVE_SECONDS = 600.0
"""How long lists that are older than what was seen are taken for those of a server that is behind."""


@dataclass(frozen=True)
class Change(Generic[T]):
    """An object came, changed or went: `old` or `new` is None where there is none."""

    resource: Resource
    key: Key
    old: T | None
    new: T | None
    relevant: bool
    """Whether the part that causes work has changed."""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T | None
    """None: deleted."""
    version: int
    observed: int
    trigger: object


class Store(Mapping[Key, T]):
    """Projections by key. `put`, `remove` and `replace` call the listener before they return."""

    def __init__(
        self,
        resource: Resource,
        project: Callable[[Object], T],
        *,
        selector: str = "",
        only: Key | None = None,
        trigger: Callable[[T], object] = lambda value: value,
        listener: Callable[[Change[T]], None] = lambda change: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`project` reduces an object to what is kept of it (never None); `trigger` that to what causes work.

        `selector` is the label selector, for the server, of what belongs here: `a=b,c`. `only`: that one object.
        """
        self.resource = resource
        self.selector = selector
        self.only = only
        self.synced = False
        """Whether a complete list has been seen."""
        self.unlisted = ""
        """Why the last list has failed; empty if it has not."""
        self.last_event = monotonic()
        """Monotonic time, in seconds, of the last observation of any kind."""
        self.listener = listener
        self._project = project
        self._trigger = trigger
        self._monotonic = monotonic
        self._entries: dict[Key, _Entry[T]] = {}
        self._tick = 0
        self._live = 0
        self._only_listed: set[Key] = set()
        self._newest, self._newest_at = 0, monotonic()

    def __getitem__(self, key: Key) -> T:
        entry = self._entries[key]
        if entry.value is None:
            raise KeyError(key)
        return entry.value

    def __iter__(self) -> Iterator[Key]:
        return (key for key, entry in self._entries.items() if entry.value is not None)

    def __len__(self) -> int:
        return self._live

    def put(self, item: Object) -> None:
        """An object as a watch, a read or a write returned it; ignored if a newer version is known."""
        key, version = key_of(item), _version(item)
        self.heard()
        self._only_listed.discard(key)
        if (entry := self._entries.get(key)) is None or entry.version < version:
            self._set(key, self._project(item), version)

    def remove(self, item: Object) -> None:
        """An object in the version in which it was deleted; ignored if a newer one is known."""
        key, version = key_of(item), _version(item)
        self.heard()
        self._only_listed.discard(key)
        if (entry := self._entries.get(key)) is None or entry.version <= version:
            self._set(key, None, version)

    def is_deleted(self, key: Key) -> bool:
        """Whether the object's deletion is remembered: until a list begins after it."""
        entry = self._entries.get(key)
        return entry is not None and entry.value is None

    def heard(self) -> None:
        """The API server has spoken, if only with a bookmark."""
        self.last_event = self._monotonic()

    def tick(self) -> int:
        """A moment in this store's own time, to tell later what has been observed since."""
        self._tick += 1
        return self._tick

    @property
    def newest(self) -> int:
        """The highest version that the API server has told, of an object or of a list."""
        return self._newest

    def is_stale(self, version: int, newest: int) -> bool:
        """Whether a list of that version, begun when `newest` was known, is older than what was known.

        An API server's list is never older than what it has told before. One that is comes from a cache that is behind,
        or from data that were restored from a backup: those are believed once nothing newer was heard of for long.
        """
        return version < newest and self._monotonic() - self._newest_at < BELIEVE_SECONDS

    def listed(self, version: int) -> None:
        """A list of that version has been taken in whole."""
        self._heard_of(version)

    def replace(self, item: Object, since: int) -> None:
        """An object as a list that began at `since` has it; ignored if it has been observed after that."""
        key, version = key_of(item), _version(item)
        entry = self._entries.get(key)
        if entry is not None and entry.version == version and entry.value is not None:
            # What is known of nearly all, list after list: not worth to be read again.
            self._entries[key] = replace(entry, observed=self.tick())
        elif entry is None or entry.observed < since:
            self._only_listed.add(key)
            self._set(key, self._project(item), version)

    def suspects(self, listed: set[Key], since: int) -> list[Key]:
        """Objects that a list that began at `since` should have had and has not: perhaps deleted."""
        return [
            key
            for key, entry in self._entries.items()
            if entry.value is not None and entry.observed < since and key not in listed
        ]

    def drop(self, key: Key, since: int) -> None:
        """The object is known to be gone; ignored if it has been observed after `since`."""
        entry = self._entries.get(key)
        if entry is not None and entry.observed < since:
            self._only_listed.add(key)
            self._set(key, None, entry.version)

    def take_missed(self) -> int:
        """How many objects only a list has told the last change or deletion of, since this was last asked.

        Asked just before each list, these are what the watch has missed: one that is merely late has told them by then.
        """
        missed = len(self._only_listed)
        self._only_listed.clear()
        return missed

    def forget_deleted(self, since: int) -> None:
        """Drop what is remembered of objects whose deletion was observed before `since`."""
        self._entries = {
            key: entry for key, entry in self._entries.items() if entry.value is not None or entry.observed >= since
        }
        self._only_listed &= self._entries.keys()

    def _heard_of(self, version: int) -> None:
        if version > self._newest:
            self._newest, self._newest_at = version, self._monotonic()

    def _set(self, key: Key, value: T | None, version: int) -> None:
        entry = self._entries.get(key)
        old = entry.value if entry is not None else None
        trigger = self._trigger(value) if value is not None else None
        relevant = (old is None) != (value is None) or (entry is not None and trigger != entry.trigger)
        self._live += (value is not None) - (old is not None)
        self._entries[key] = _Entry(value, version, self.tick(), trigger)
        self._heard_of(version)
        if old is not None or value is not None:
            self.listener(Change(self.resource, key, old, value, relevant))


def _version(item: Object) -> int:
    """`metadata.resourceVersion` as the number that etcd and the API server make of it."""
    return int(item["metadata"]["resourceVersion"])
