"""Make sure that the control plane's programs are there, and say how long it takes."""

import sys
import time

from tests.controlplane.programs import PACKAGES, ensure, missing, program

STARTED = time.monotonic()


def say(line: str) -> None:
    """Print a line of progress with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:4.0f} s] {line}", file=sys.stderr, flush=True)


absent = missing()
if absent:
    say(
        f"the control plane lacks {', '.join(absent)}; a first build compiles Kubernetes: 10 to 20 minutes on two cores"
    )
    ensure(say)
    say("the control plane is complete")
folders = sorted({str(program(name).parent) for name in PACKAGES})
print(f"==> control plane: {', '.join(folders)}", file=sys.stderr)
