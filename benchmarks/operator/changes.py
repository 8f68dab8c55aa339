"""Changes: one model after the other, and how long each takes."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.operator.effort import cpu_seconds, resident_mb
from benchmarks.operator.fleet import NAMESPACE, REGIONS
from benchmarks.operator.gateways import unacknowledged
from benchmarks.operator.readings import quiet, steady
from benchmarks.operator.world import World
from tests.controlplane.api import eventually
from tests.integration.operators import OperatorProcess, path
from tomoul.plan.naming import pool_name

REST_SECONDS = 1.0
"""At rest is a fleet in which for so long nothing was written or reconciled, and no key waited for its turn or time."""


def changes(
    world: World, operator: OperatorProcess, numbers: Sequence[int], memory: str, *, rest: bool
) -> dict[str, Any]:
    """Change one model after the other; seconds from each change to its Deployment in one region being so.

    With `rest` each change waits until all that the one before has caused is done: tables written and acknowledged,
    statuses told. Without, the next one comes a fraction of a second after the Deployment of the one before.
    """
    seconds, pauses = [], []
    pid = operator.process.pid
    before, server = cpu_seconds(pid), world.server_cpu()
    for index, number in enumerate(numbers):
        if rest:
            pauses.append(_at_rest(world, operator))
        name = f"model-{number:04}"
        where = path("ModelDeployment", name, NAMESPACE)
        began = time.monotonic()
        world.api.patch(where, {"spec": {"resources": {"memory": memory}}})
        child = path("Deployment", pool_name(name, REGIONS[index % len(REGIONS)], "default"), NAMESPACE)
        eventually(lambda child=child: _memory(world.api.get(child)) == memory, 60)
        seconds.append(time.monotonic() - began)
        if not rest:
            time.sleep(0.2 + index % 7 / 10)
    steady(operator, 90, time.monotonic())
    count = len(numbers)
    return {
        "changes": count,
        "p50_seconds": statistics.median(seconds),
        "p95_seconds": sorted(seconds)[max(0, -(-count * 95 // 100) - 1)],
        "longest_seconds": max(seconds),
        "p50_seconds_until_rest": statistics.median(pauses[1:]) if pauses[1:] else None,
        "cpu_seconds_per_change": (cpu_seconds(pid) - before) / count,
        "server_cpu_seconds_per_change": (world.server_cpu() - server) / count,
        "resident_mb": resident_mb(pid),
    }


def _at_rest(world: World, operator: OperatorProcess) -> float:
    """Seconds until all is done that was begun before."""
    began = time.monotonic()
    while True:
        ended = quiet(operator, 90, REST_SECONDS, 0.25)
        if not unacknowledged(world.api):
            return max(0.0, ended - began)


def _memory(deployment: Mapping[str, Any]) -> str:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return str(container["resources"]["requests"]["memory"])
