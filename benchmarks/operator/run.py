"""The run: a small fleet and the whole one, each in a world of its own."""

import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks.operator.changes import changes
from benchmarks.operator.phases import growth, restart, start, storm
from benchmarks.operator.world import World
from tests.integration.operators import OperatorProcess

PHASES = ("small", "rest", "rapid", "restart", "storm", "resync")
"""What is measured beside the growth of the fleet, in this order but for `small`, the growth of a small fleet, which
comes first. `rest`, `rapid` and `resync` are changes: at rest, one upon the other, and while everything is listed."""
SMALL = 150
CHANGES = 40
BARE_MODELS = 100
"""Models whose children the bare client applies in a turn: two before and two after the operator's."""


def machine() -> str:
    """What it ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} CPUs, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


def run(models: int, phases: Collection[str], events: int, part: Callable[[str], None]) -> dict[str, Any]:
    """All figures. `part` is called before each part, which takes some minutes."""
    report: dict[str, Any] = {"machine": machine(), "models": models, "fleets": {}}
    sizes = {min(SMALL, models): (), models: phases} if "small" in phases else {models: phases}
    for size, wanted in sizes.items():
        with tempfile.TemporaryDirectory(prefix="tomoul-bench-") as folder, World(Path(folder)) as world:
            report["fleets"][str(size)] = _fleet(world, size, wanted, events, part)
    return report


def _fleet(
    world: World, size: int, phases: Collection[str], events: int, part: Callable[[str], None]
) -> dict[str, Any]:
    pick = random.Random(7)
    found: dict[str, Any] = {}

    def changed(phase: str, operator: OperatorProcess, memory: str) -> None:
        part(f"{size} models: changes, {phase}")
        numbers = pick.sample(range(size), min(CHANGES, size))
        found[phase] = changes(world, operator, numbers, memory, rest=phase == "rest")
        _say(found[phase])

    def bare(since: int) -> None:
        for first, kind, validation in ((since, "bare", "Strict"), (since + BARE_MODELS, "bare_unvalidated", "Ignore")):
            found.setdefault(kind, []).append(world.bare(range(first, first + BARE_MODELS), validation))

    part(f"{size} models: applied")
    bare(0)
    operator = start(world, "first")
    try:
        found["growth"] = growth(world, operator, size, 1200)
        bare(2 * BARE_MODELS)
        _say(found)
        if "rest" in phases:
            changed("rest", operator, "9Gi")
        if "rapid" in phases:
            changed("rapid", operator, "10Gi")
    finally:
        _end(operator)
    if "restart" in phases or "storm" in phases:
        part(f"{size} models: restart, storm")
        operator, found["restart"] = restart(world)
        try:
            _say(found["restart"])
            if "storm" in phases:
                found["storm"] = storm(world, operator, events, size)
                _say(found["storm"])
        finally:
            _end(operator)
    if "resync" in phases:
        operator, _ = restart(world, "--resync-seconds=1")
        try:
            changed("resync", operator, "11Gi")
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
