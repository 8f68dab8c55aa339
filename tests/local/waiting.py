"""Polling with a deadline, in the place of sleeps."""

import asyncio
import time
from collections.abc import Awaitable, Callable

INTERVAL = 0.02


def until(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait until `condition` holds; fail with `what` if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(INTERVAL)


async def until_async(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 15.0) -> None:
    """As `until`, without blocking the event loop."""
    deadline = time.monotonic() + seconds
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        await asyncio.sleep(INTERVAL)
