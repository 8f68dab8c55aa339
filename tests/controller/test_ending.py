"""The operator's process ends once its main part has, whatever else goes on in it."""

import subprocess
import sys
import time

PROGRAM = """
import asyncio
import contextlib
from tomoul.cli.ending import run_to_the_end

async def stays():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

async def main():
    task = asyncio.create_task({rest}())
    await asyncio.sleep(0)
    {end}

run_to_the_end(main(), 1.0)
"""


def ended(end: str, rest: str) -> tuple[int, str]:
    """The exit status and what was logged."""
    program = PROGRAM.format(end=end, rest=rest)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return found.returncode, found.stderr


def test_what_does_not_end_is_not_waited_for_and_the_cause_is_told() -> None:
    began = time.monotonic()
    status, log = ended('raise ValueError("the watch has ended")', "stays")
    assert (status, "ValueError: the watch has ended" in log, "not waited for" in log) == (1, True, True)
    assert time.monotonic() - began < 30


def test_a_process_whose_parts_end_is_left_alone() -> None:
    assert ended("pass", "asyncio.Event().wait") == (0, "")
    status, log = ended('raise ValueError("a bug")', "asyncio.Event().wait")
    assert (status, "not waited for" in log) == (1, False)
