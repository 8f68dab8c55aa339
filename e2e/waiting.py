"""Waiting with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(read: Callable[[], T], holds: Callable[[T], bool], seconds: float = 60) -> T:
    """What `read` returns once it `holds`. Raises AssertionError with the last of it after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = read()
        if holds(found):
            return found
        assert time.monotonic() < deadline, f"not so after {seconds} s, but: {found}"
        time.sleep(0.5)
