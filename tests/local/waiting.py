"""Polling with a deadline, in the place of sleeps."""

import time
from collections.abc import Callable

INTERVAL = 0.02


def until(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait until `condition` holds; fail with `what` if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(INTERVAL)
