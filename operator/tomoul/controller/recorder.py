"""Recorder: writes Events, after the status that they speak of, beside the reconciles and slower than those.

An Event that happens again within ten minutes is counted, and the next one says how often. None is worth a retry, or a
reconcile that waits: what the API server does not take, and what comes faster than it may be written, is dropped.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from tomoul.controller.lease import Lease
from tomoul.controller.metrics import Metrics
from tomoul.controller.writer import TokenBucket
from tomoul.kube.client import KubeClient
from tomoul.kube.errors import Conflict, KubeError
from tomoul.kube.resources import EVENTS, Resource
from tomoul.plan.events import MAX_NOTE, Event, fitting
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

CONTROLLER = "tomoul.ai/operator"
WAITING = 1000
"""Most Events that wait to be written."""
WRITES_PER_SECOND, BURST = 10.0, 50
SAME_FOR = 600.0
"""Seconds after an Event was written in which the same one is only counted."""
_REMEMBERED = 4096


class About(NamedTuple):
    """The object that an Event speaks of."""

    resource: Resource
    key: Key
    uid: str


@dataclass
class Told:
    """An Event that was written."""

    at: float
    when: datetime
    again: int = 0
    """How often it has happened since."""


class Recorder:
    """Takes Events from the reconciles, and writes them while this process leads."""

    def __init__(
        self,
        client: KubeClient,
        lease: Lease,
        metrics: Metrics,
        identity: str,
        now: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._lease = lease
        self._metrics = metrics
        self._identity = identity[:128]
        self._now = now
        self._monotonic = monotonic
        self._bucket = TokenBucket(WRITES_PER_SECOND, BURST, monotonic=monotonic)
        self._queue: asyncio.Queue[tuple[About, Event, datetime]] = asyncio.Queue(WAITING)
        self._told: dict[tuple[str, str, str, str], Told] = {}

    def offer(self, about: About, events: Iterable[Event]) -> None:
        """Take Events to be written."""
        for event in events:
            try:
                self._queue.put_nowait((about, event, self._now()))
            except asyncio.QueueFull:
                self._metrics.events.labels("dropped").inc()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            about, event, when = await self._queue.get()
            try:
                outcome = await self._record(about, event, when)
            except KubeError as error:
                outcome = "failed"
                logger.info("an Event of %s %s: %s", about.resource.kind, about.key.name, error)
            self._metrics.events.labels(outcome).inc()

    async def _record(self, about: About, event: Event, when: datetime) -> str:
        """The outcome, for the metric."""
        same = (about.uid, event.region, event.type, event.reason)
        told = self._told.get(same)
        if told is not None and self._monotonic() - told.at < SAME_FOR:
            told.again += 1
            return "counted"
        await self._bucket.take()
        if not self._lease.held:
            return "dropped"
        if told is not None and told.again:
            event = event._replace(note=counted(event.note, told))
        # A Conflict is the answer to an attempt whose own answer was lost.
        with contextlib.suppress(Conflict):
            await self._client.create(event_manifest(about, event, when, self._identity))
        self._remember(same, Told(self._monotonic(), when))
        return "written"

    def _remember(self, same: tuple[str, str, str, str], told: Told) -> None:
        if len(self._told) >= _REMEMBERED:
            self._told = {each: entry for each, entry in self._told.items() if told.at - entry.at < SAME_FOR}
        if len(self._told) < _REMEMBERED or same in self._told:
            self._told[same] = told


def counted(note: str, told: Told) -> str:
    """A note that says how often the same has happened since it was told last."""
    suffix = f" ({told.again} times more since {told.when.strftime('%Y-%m-%dT%H:%M:%SZ')})"
    return fitting(note, MAX_NOTE - len(suffix)) + suffix


def event_manifest(about: About, event: Event, when: datetime, identity: str) -> dict[str, Any]:
    """The Event as the API server takes it."""
    # The name is that of this happening: a request that is sent twice makes one Event. It begins with the time, because
    # kubectl shows Events of one object in the order of their names.
    parts = (about.uid, event.region, event.type, event.reason)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    name = f"{about.key.name[:200]}.{int(when.timestamp() * 1_000_000):x}{digest}"
    regarding = {
        "apiVersion": about.resource.api_version,
        "kind": about.resource.kind,
        "name": about.key.name,
        "uid": about.uid,
        **({"namespace": about.key.namespace} if about.key.namespace else {}),
    }
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        # Events of what has no namespace belong into this one.
        "metadata": {"name": name, "namespace": about.key.namespace or "default"},
        "eventTime": _micro(when),
        "reportingController": CONTROLLER,
        "reportingInstance": identity,
        "action": "Reconcile",
        "type": event.type,
        "reason": event.reason,
        "note": event.note,
        "regarding": regarding,
    }


def _micro(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
