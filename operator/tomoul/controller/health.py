"""Health: what the kubelet is told.

Ready once all kinds are listed, leader or standby. Alive while the event loop is on time, lists and the lease are
attempted, and, in the leader, workers take or finish keys while keys wait. A watch that ends is opened anew or ends
the process, so it needs no check. An API server that is away makes the operator neither dead nor unready: a restart
would not bring it back.
"""

import asyncio
import time
from collections.abc import Callable

from prometheus_client import Gauge

from tomoul.controller.keys import WorkKey
from tomoul.controller.lease import Lease
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue

BEAT = 1.0
LONGEST_LAG = 20.0
LONGEST_ELECTION_PAUSE = 120.0
LONGEST_QUEUE_PAUSE = 600.0
"""A worker's longest honest wait is that of its requests, 30 s each, behind the writer's token bucket."""
LONGEST_LIST_PAUSE = 300.0
"""Seconds, beside twice the pause between rounds of lists, in which some request of a list has to end, well or not."""


class Health:
    """Facts behind `/healthz` and `/readyz`."""

    def __init__(
        self,
        observed: Observed,
        queue: WorkQueue[WorkKey],
        lease: Lease,
        lag: Gauge,
        resync_seconds: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observed = observed
        self._queue = queue
        self._lease = lease
        self._lag_metric = lag
        self._lag = 0.0
        self._resync_seconds = resync_seconds
        self._monotonic = monotonic
        self._lists_moved = monotonic()

    def lists_move(self) -> None:
        """A request for a list was answered, or was not in time: of a large cluster a whole round may take minutes."""
        self._lists_moved = self._monotonic()

    async def beat(self) -> None:
        """Measure for ever how late the event loop is."""
        while True:
            due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            self._lag = time.monotonic() - due
            self._lag_metric.set(self._lag)

    def ready(self) -> str:
        """What keeps the operator from being ready, or nothing."""
        missing = [
            f"{resource.plural} ({store.unlisted})" if store.unlisted else resource.plural
            for resource, store in self._observed.stores.items()
            if not store.synced
        ]
        return f"not listed yet: {', '.join(missing)}" if missing else ""

    def alive(self) -> str:
        """What is wrong for good, or nothing."""
        if self._lag > LONGEST_LAG:
            return f"the event loop was {self._lag:.0f} s late"
        if (pause := self._monotonic() - self._lists_moved) > 2 * self._resync_seconds + LONGEST_LIST_PAUSE:
            return f"no list has moved for {pause:.0f} s"
        if (pause := time.monotonic() - self._lease.attempted) > LONGEST_ELECTION_PAUSE:
            return f"the lease has been neither renewed nor asked for since {pause:.0f} s"
        works = self._lease.held and self._observed.synced  # before that, nobody takes keys
        if works and (pause := self._queue.idle_seconds) > LONGEST_QUEUE_PAUSE:
            return f"{len(self._queue)} keys wait, and no worker has moved for {pause:.0f} s"
        return ""
