"""The command `tomoul` as a process that need not import anything: that takes longer than most tests.

It is forked from a process that has imported the operator and done nothing else, by the standard library's fork server.
"""

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# `__main__` is pytest: else each process would import it.
_CONTEXT.set_forkserver_preload(["__main__", "tomoul.cli.main", "tomoul.cli.operator"])
# The standard library reads a status once, for whichever thread asks first; it asks for all whenever one is started.
_lock = threading.Lock()


class Forked:
    """A process with the methods of `subprocess.Popen`; it ends with this one."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        """Both of its outputs go to `log`."""
        self._process = _CONTEXT.Process(target=_main, args=(arguments, dict(os.environ), log), daemon=True)
        with _lock:
            self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Its status, or None while it runs."""
        with _lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its status once it has ended. Raises subprocess.TimeoutExpired."""
        if self.poll() is None:
            wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(["tomoul"], timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _main(arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
    from tomoul.cli.main import main

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    main(list(arguments), prog_name="tomoul")
