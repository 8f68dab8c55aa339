"""The run: a small fleet and the whole one, each in a world of its own."""

import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.operator.phases import changes, growth, restart, start, storm
from benchmarks.operator.world import World
from tests.integration.operators import OperatorProcess

SMALL = 150
BARE_MODELS = 100
"""Models whose children the bare client applies, before and again after the operator's turn."""


def machine() -> str:
    """What it ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} CPUs, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


def run(models: int, events: int, part: Callable[[str], None]) -> dict[str, Any]:
    """All figures. `part` is called before each part, which takes some minutes."""
    report: dict[str, Any] = {"machine": machine(), "models": models, "fleets": {}}
    for size in dict.fromkeys((min(SMALL, models), models)):
        with tempfile.TemporaryDirectory(prefix="tomoul-bench-") as folder, World(Path(folder)) as world:
            report["fleets"][str(size)] = _fleet(world, size, events if size == models else 0, part)
    return report


def _fleet(world: World, size: int, events: int, part: Callable[[str], None]) -> dict[str, Any]:
    pick = random.Random(7)
    part(f"{size} models: applied")
    bare = [world.bare(range(min(BARE_MODELS, size)))]
    operator = start(world, "first")
    try:
        found: dict[str, Any] = {"growth": growth(world, operator, size, 1200)}
        bare.append(world.bare(range(BARE_MODELS, BARE_MODELS + min(BARE_MODELS, size))))
        found["bare"] = bare
        _say(found)
        if events:
            part(f"{size} models: changes, when idle")
            found["changes_idle"] = changes(world, operator, pick.sample(range(size), min(40, size)), "9Gi")
            _say(found["changes_idle"])
    finally:
        _end(operator)
    if not events:
        return found
    part(f"{size} models: restart, storm")
    operator, found["restart"] = restart(world)
    try:
        _say(found["restart"])
        found["storm"] = storm(world, operator, events, size)
        _say(found["storm"])
    finally:
        _end(operator)
    part(f"{size} models: changes while everything is listed again")
    operator, _ = restart(world, "--resync-seconds=1")
    try:
        found["changes_resync"] = changes(world, operator, pick.sample(range(size), min(40, size)), "10Gi")
        _say(found["changes_resync"])
    finally:
        _end(operator)
    return found


def _end(operator: OperatorProcess) -> None:
    ended = operator.process.poll()
    operator.stop()
    lines = operator.log.read_text().splitlines()
    if ended is not None or any("this is a bug" in line for line in lines):
        _say("\n".join(lines[-40:]))


def _say(what: object) -> None:
    print(what, file=sys.stderr, flush=True)
