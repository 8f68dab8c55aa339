"""Progress: how far a download is, for whoever asks while it runs."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

Step = Literal["Listing", "Waiting", "Downloading", "Done"]
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
        self._state: Step = "Listing"
        self._verifying = 0
        self._bytes = self._total = 0
        self._error = ""
        self._moved, self._moved_at = now(), monotonic()
        self._samples: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    def enter(self, state: Step) -> None:
        """What the loader does from now on."""
        with self._lock:
            if state != self._state:
                self._state = state
                self._move()

    @contextmanager
    def verifying(self) -> Iterator[None]:
        """Meanwhile the bytes of a file are looked at, and others may come."""
        with self._lock:
            self._verifying += 1
        try:
            yield
        finally:
            with self._lock:
                self._verifying -= 1
                self._move()

    def begin(self, done: int, total: int) -> None:
        """`done` of `total` bytes are there already; what was there does not count as speed."""
        with self._lock:
            self._bytes, self._total = done, total
            self._move()
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
        """`state`, `bytes` and `total`, `bytesPerSecond`, when the last byte came (`movedAt`, by this machine's clock),
        how long ago that is (`stillSeconds`, 0 while bytes are looked at), and the last `error`.
        """
        with self._lock:
            now = self._monotonic()
            while len(self._samples) > 1 and now - self._samples[1][0] >= WINDOW_SECONDS:
                self._samples.popleft()
            at, count = self._samples[0]
            speed = max(self._bytes - count, 0) / max(now - at, 1.0)
            return {
                "state": "Verifying" if self._verifying else self._state,
                "bytes": self._bytes,
                "total": self._total,
                "bytesPerSecond": int(speed),
                "movedAt": self._moved.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "stillSeconds": 0 if self._verifying else int(now - self._moved_at),
                "error": self._error,
            }

    def _move(self) -> None:
        self._moved, self._moved_at = self._now(), self._monotonic()

    def _move_to(self, count: int) -> None:
        self._bytes, self._error = count, ""
        self._move()
        now = self._moved_at
        if now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, count))
