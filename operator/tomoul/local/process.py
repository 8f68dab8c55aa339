"""A program in the place of a pod: started, probed, restarted with back-off, stopped."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

PROBE_SECONDS = 0.02
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.2, 10.0
STEADY_SECONDS = 10.0
STOP_SECONDS = 5.0
"""How long a program may take after SIGTERM until it is killed."""


class Process:
    """One program that is kept running while `run` does."""

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        ready: Callable[[], Awaitable[bool]],
        changed: Callable[[], None],
        log: Path,
        group: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`command` is asked anew at each start; `changed` is called at each turn of events; `log` gets the output.

        `environment` is added to this process's own.
        """
        self.name = name
        self.log = log
        self.ready = False
        self.was_ready = False
        """Whether it has ever been ready."""
        self.pid: int | None = None
        self.starts = 0
        self.ends = 0
        """How many runs ended by themselves."""
        self.last_exit: int | None = None
        """Exit status of the last of them; negative for a signal."""
        self._command = command
        self._probe = ready
        self._changed = changed
        self._group = group
        self._environment = environment or {}

    def last_words(self, lines: int) -> list[str]:
        """The end of its log."""
        if not self.log.exists():
            return []
        return self.log.read_text(errors="replace").strip().splitlines()[-lines:]

    async def run(self) -> None:
        """Keep the program running until cancelled, then stop it."""
        back_off = FIRST_BACK_OFF
        while True:
            self.starts += 1
            started = asyncio.get_running_loop().time()
            await self._run_once()
            if asyncio.get_running_loop().time() - started > STEADY_SECONDS:
                back_off = FIRST_BACK_OFF
            await asyncio.sleep(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF)

    async def _run_once(self) -> None:
        with self.log.open("ab") as log:
            program = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._group,
                env={**os.environ, **self._environment},
            )
        self.pid = program.pid
        ended = asyncio.create_task(program.wait())
        try:
            if await self._becomes_ready(ended):
                self.ready = self.was_ready = True
                self._changed()
                await asyncio.shield(ended)
            self.last_exit = program.returncode
            self.ends += 1
        finally:
            await _stop(program, ended)
            self.pid = None
            self.ready = False
            self._changed()

    async def _becomes_ready(self, ended: asyncio.Task[int]) -> bool:
        while not ended.done():
            if await self._probe():
                return True
            await asyncio.wait({ended}, timeout=PROBE_SECONDS)
        return False


async def _stop(program: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            program.send_signal(number)
        done, _ = await asyncio.wait({ended}, timeout=STOP_SECONDS)
        if done:
            return
