"""Progress on the terminal while pytest captures everything else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Progress:
    """Lines on the terminal, each with the seconds since the start."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line, or several."""
        with self._capture.global_and_fixture_disabled():
            print(f"[{time.monotonic() - self._started:4.0f} s] {text}", flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say that something begins, and how long it took."""
        self.say(f"{what} …")
        started = time.monotonic()
        yield
        self.say(f"{what}: {time.monotonic() - started:.1f} s")
