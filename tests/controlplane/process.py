"""A program that runs until it is stopped, or until the process that started it is gone, however that ended."""

import random
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

# The shell reads its stdin, which only closes when we close it or die, and then kills the program.
UNTIL_STDIN_CLOSES = '"$@" </dev/null & pid=$!; { read -r _; kill -9 $pid; } <&3 & wait $pid'


class Process:
    """One running program with its output in a file."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self.name = Path(command[0]).name
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                ["sh", "-c", f"exec 3<&0; {UNTIL_STDIN_CLOSES}", "sh", *map(str, command)],
                stdin=subprocess.PIPE, stdout=out, stderr=out,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The program's own process, not that of the shell around it."""
        children = Path(f"/proc/{self._popen.pid}/task/{self._popen.pid}/children").read_text().split()
        names = {int(child): Path(f"/proc/{child}/comm").read_text().strip() for child in children}
        return next(child for child, name in names.items() if name == self.name[:15])

    def stop(self) -> None:
        """Kill it and wait for its end."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait(timeout=30)

    def check(self) -> None:
        """Raise RuntimeError with the end of its log if it is no longer running."""
        if self._popen.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"{self.name} ended with {self._popen.returncode}; {self.log}:\n{tail}")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on.

    It is outside the range from which the system gives ports to clients, so it stays free while its server restarts.
    """
    for _ in range(100):
        port = random.randint(15000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("found no free port in 100 tries")
