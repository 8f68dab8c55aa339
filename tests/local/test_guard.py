import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.local.waiting import until
from tomoul.local.guard import ProcessGroup

OWNER = """
import subprocess, sys, time
from tomoul.local.guard import ProcessGroup
with ProcessGroup() as group:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    stubborn = f"{ignore}; print('up', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", stubborn], process_group=group.id, stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    try:
        return state.read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_owner_leaves_no_process_behind_even_one_that_ignores_sigterm() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        child = int(owner.stdout.readline())
        assert alive(child)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        until(lambda: not alive(child), "the child's end")


def test_leaving_the_group_ends_what_is_left_of_it() -> None:
    with ProcessGroup() as group:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=group.id)
        assert child.poll() is None
    assert child.wait(5) == -signal.SIGKILL
