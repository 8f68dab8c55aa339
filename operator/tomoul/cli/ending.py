"""Ending: a process whose main part has ended ends, whatever else goes on in it."""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)

END_SECONDS = 20.0


def run_to_the_end(main: Coroutine[Any, Any, None], seconds: float = END_SECONDS) -> None:
    """`asyncio.run`, but what is left `seconds` after the end of `main` is not waited for: the process exits with 1.

    A part that has failed may have left something that does not end, and a process that hangs is restarted by nobody.
    """
    guard = threading.Timer(seconds, _exit)
    guard.daemon = True

    async def guarded() -> None:
        try:
            await main
        except BaseException as error:
            logger.critical("ending: %s", _leaves(error))
            raise
        finally:
            guard.start()

    try:
        asyncio.run(guarded())
    finally:
        guard.cancel()


def _exit() -> None:
    logger.critical("something does not end: it is not waited for")
    logging.shutdown()
    os._exit(1)


def _leaves(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_leaves(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"
