"""Programs that the tests run."""

import shutil
import subprocess
from pathlib import Path

from tests.controlplane.programs import program

ROOT = Path(__file__).parent.parent


class CommandError(Exception):
    """A program ended with a status other than 0; the message holds what it printed."""


def find(name: str) -> str:
    """Path of a program: from PATH, else from where the tests' control plane comes from."""
    return shutil.which(name) or str(program(name))


def run(*command: str | Path, input: str | None = None, timeout: float = 300) -> str:  # noqa: A002 - as subprocess says
    """What a program printed. Raises CommandError, and subprocess.TimeoutExpired after `timeout` seconds."""
    done = subprocess.run(
        [str(part) for part in command], input=input, capture_output=True, text=True, timeout=timeout, cwd=ROOT
    )
    if done.returncode != 0:
        shown = " ".join(map(str, command))
        raise CommandError(f"`{shown}` ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout
