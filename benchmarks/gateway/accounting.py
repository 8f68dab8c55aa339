"""What a process used, from /proc."""

import os
from collections.abc import Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of `pids`, all threads, user and system.

    From the scheduler's nanoseconds where the kernel has them: a tick of /proc/PID/stat is 10 ms, which is as much as
    30 requests cost.
    """
    return sum(_cpu_seconds(pid) for pid in pids)


def resident_bytes(pid: int) -> int:
    """Resident memory of `pid` now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def with_descendants(pid: int) -> list[int]:
    """`pid` and every process below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended meanwhile
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(parents.get(each, ()))
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        if nanoseconds := sum(int(thread.read_text().split()[0]) for thread in threads):
            return nanoseconds / 1e9
    except FileNotFoundError:
        pass  # a thread has ended meanwhile
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
