"""Contests: objects that somebody else changes back, or deletes, as often as they are repaired.

Two that both want the last word would go on for as long as they live, tens of times a second, and each turn of a pod
template is a rollout. A repair that comes now and then is done at once. Another operator like this one, with other
settings, applies as the same field manager, with a hash of its own: what tells is that we have applied ours before.
"""

import time
from collections.abc import Callable

from tomoul.kube.resources import Resource
from tomoul.plan.world import Key

BURST = 10
"""Repairs of one object that are done as soon as they are needed."""
PAUSE_SECONDS = 20.0
"""Seconds between those that follow; a repair in so long a time is not one too many."""
_REMEMBERED = 1000
_STAMPS = 50_000
"""Objects of which the last change is remembered, some 200 bytes each: more than there are children, as a rule."""


class Contests:
    """Remembers the repairs of the objects that were repaired last."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._repairs: dict[tuple[Resource, Key], tuple[float, float]] = {}
        self._stamps: dict[tuple[Resource, Key], str] = {}

    def turn(self, resource: Resource, key: Key, stamp: str) -> float:
        """Seconds until the object should be changed to what has this hash: 0, unless that was its last change too."""
        last = self._stamps.pop((resource, key), "")
        self._stamps[resource, key] = stamp
        if len(self._stamps) > _STAMPS:
            del self._stamps[next(iter(self._stamps))]
        return self.wait(resource, key) if last == stamp else 0.0

    def wait(self, resource: Resource, key: Key) -> float:
        """Seconds until the object should be repaired; if that is now, 0, the repair counts as done."""
        now = self._monotonic()
        left, at = self._repairs.pop((resource, key), (float(BURST), now))
        left = min(BURST, left + (now - at) / PAUSE_SECONDS)
        wait = max(0.0, (1 - left) * PAUSE_SECONDS)
        self._repairs[resource, key] = (left if wait else left - 1, now)
        if len(self._repairs) > _REMEMBERED:
            del self._repairs[next(iter(self._repairs))]
        return wait
