"""A process group whose members do not outlive the process that owns it, however that ends.

The guard leads the group and reads its standard input, a pipe whose other end only the owner holds. When the owner
ends, even by SIGKILL, the pipe closes, and the guard ends the group and itself.
"""

import os
import signal
import subprocess
import sys
import time
from types import TracebackType

GRACE_SECONDS = 2.0


class ProcessGroup:
    """The owner's end: a context manager that starts the guard, and at its exit ends what is left of the group."""

    def __enter__(self) -> "ProcessGroup":
        self._guard = subprocess.Popen([sys.executable, "-S", "-E", __file__], stdin=subprocess.PIPE, process_group=0)
        return self

    @property
    def id(self) -> int:
        """Group id, for `subprocess.Popen(process_group=…)`."""
        return self._guard.pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()


def main() -> None:
    """Wait for the end of the standard input, then end the group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
