"""Progress: how far a download is, for whoever asks while it runs."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

State = Literal["Listing", "Waiting", "Downloading", "Verifying", "Done"]
"""Waiting: another loader, of another replica, downloads the same to the same volume."""
WINDOW_SECONDS = 30.0
"""What the speed is measured over."""


class Progress:
    """Counts bytes; may be used from several threads."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._state: State = "Listing"
        self._bytes = self._total = 0
        self._error = ""
        self._moved = now()
        self._samples: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    def enter(self, state: State) -> None:
        """What the loader does from now on."""
        with self._lock:
            if state != self._state:
                self._state, self._moved = state, self._now()

    def begin(self, done: int, total: int) -> None:
        """`done` of `total` bytes are there already; what was there does not count as speed."""
        with self._lock:
            self._bytes, self._total = done, total
            self._moved = self._now()
            self._samples = deque([(self._monotonic(), done)])

    def add(self, count: int) -> None:
        """So many bytes more are on the volume; fewer, where some had to be thrown away."""
        with self._lock:
            self._move_to(self._bytes + count)

    def reach(self, done: int) -> None:
        """So many bytes are on the volume, whoever brought them."""
        with self._lock:
            if done != self._bytes:
                self._move_to(done)

    def failed(self, error: str) -> None:
        """Something went wrong that is tried again."""
        with self._lock:
            self._error = error

    def report(self) -> dict[str, Any]:
        """`state`, `bytes` and `total`, `bytesPerSecond`, `movedAt` (when the last byte came) and the last `error`."""
        with self._lock:
            now = self._monotonic()
            while len(self._samples) > 1 and now - self._samples[1][0] >= WINDOW_SECONDS:
                self._samples.popleft()
            at, count = self._samples[0]
            speed = max(self._bytes - count, 0) / max(now - at, 1.0)
            return {
                "state": self._state,
                "bytes": self._bytes,
                "total": self._total,
                "bytesPerSecond": int(speed),
                "movedAt": self._moved.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "error": self._error,
            }

    def _move_to(self, count: int) -> None:
        self._bytes, self._moved, self._error = count, self._now(), ""
        now = self._monotonic()
        if now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, count))
