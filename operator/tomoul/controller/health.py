"""Health: what the kubelet is told. Ready once all is known; alive while the loop is on time and lists are attempted.

An API server that is away makes the operator neither dead nor unready: a restart would not bring it back.
"""

import asyncio
import time

from prometheus_client import Gauge

from tomoul.controller.observed import Observed

BEAT = 1.0
LONGEST_LAG = 20.0


class Health:
    """Facts behind `/healthz` and `/readyz`."""

    def __init__(self, observed: Observed, lag: Gauge, resync_seconds: float) -> None:
        self._observed = observed
        self._lag_metric = lag
        self._lag = 0.0
        self._resync_seconds = resync_seconds
        self.resync_attempted = time.monotonic()
        """When the last round of lists ended, well or not."""

    async def beat(self) -> None:
        """Measure for ever how late the event loop is."""
        while True:
            due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            self._lag = time.monotonic() - due
            self._lag_metric.set(self._lag)

    def ready(self) -> str:
        """What keeps the operator from being ready, or nothing."""
        missing = [resource.plural for resource, store in self._observed.stores.items() if not store.synced]
        return f"not listed yet: {', '.join(missing)}" if missing else ""

    def alive(self) -> str:
        """What is wrong for good, or nothing."""
        if self._lag > LONGEST_LAG:
            return f"the event loop was {self._lag:.0f} s late"
        age = time.monotonic() - self.resync_attempted
        if age > 2 * self._resync_seconds + 300:
            return f"no round of lists has ended for {age:.0f} s"
        return ""
