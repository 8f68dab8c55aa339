"""The phases of a run, each with its figures."""

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.operator.effort import cpu_seconds, resident_mb
from benchmarks.operator.fleet import CHILDREN, NAMESPACE, REGIONS
from benchmarks.operator.world import World
from tests.controlplane.api import eventually
from tests.integration.operators import GROUP, OperatorProcess, path
from tomoul.plan.naming import pool_name

GATEWAY_CHILDREN = 4
"""What a region's gateways have of `KINDS`: no ServiceAccount."""
Figures = dict[str, Any]
KINDS = ("ServiceAccount", "NetworkPolicy", "Deployment", "Service", "PodDisruptionBudget")
QUIET_SECONDS = 6.0
"""Without a write for so long, and with nothing queued, the operator is steady."""
_LABELS = re.compile(r'(\w+)="([^"]*)"')


def start(world: World, name: str, *flags: str) -> OperatorProcess:
    """An operator that leads."""
    log = world.folder / f"operator-{name}.log"
    operator = OperatorProcess(world.plane.kubeconfig, log, "--gateway-replicas=1", *flags)
    eventually(operator.leads, 90)
    return operator


def growth(world: World, operator: OperatorProcess, models: int, limit: float) -> Figures:
    """Create models while the operator runs, until everything is applied and told, or `limit` seconds have passed."""
    pid = operator.process.pid
    before, server, began = cpu_seconds(pid), world.server_cpu(), time.monotonic()
    world.add_models(range(models))
    created = time.monotonic() - began
    wanted = models * CHILDREN
    applied = until(lambda: _children(operator) >= wanted, limit, began)
    at_applied = cpu_seconds(pid) - before
    server_at_applied = world.server_cpu() - server
    steady = _steady(operator, limit, began)
    writes = _writes(operator)
    return {
        "models": models,
        "children": {kind: world.count(kind) for kind in KINDS},
        "created_seconds": created,
        "applied_seconds": applied,
        "steady_seconds": steady,
        "cpu_seconds_until_applied": at_applied,
        "server_cpu_seconds_until_applied": server_at_applied,
        "cpu_seconds_until_steady": cpu_seconds(pid) - before,
        "server_cpu_seconds_until_steady": world.server_cpu() - server,
        "child_writes": _children(operator),
        "model_status_writes": sum(
            n for (verb, kind), n in writes.items() if (verb, kind) == ("status", "ModelDeployment")
        ),
        "table_writes": sum(n for (_, kind), n in writes.items() if kind == "RoutingTable"),
        "writes": {f"{verb} {kind}": count for (verb, kind), count in sorted(writes.items())},
        "reconciles": _reconciles(operator),
        "resident_mb": resident_mb(pid),
        "programmed": _programmed(world),
    }


def restart(world: World, *flags: str) -> tuple[OperatorProcess, Figures]:
    """Start an operator in a world that is as it should be."""
    began = time.monotonic()
    operator = start(world, "again", *flags)
    led = time.monotonic() - began
    steady = _steady(operator, 120, began)
    figures = {
        "leading_seconds": led,
        "steady_seconds": steady,
        "cpu_seconds": cpu_seconds(operator.process.pid),
        "writes": {f"{verb} {kind}": count for (verb, kind), count in _writes(operator).items()},
        "reconciles": _reconciles(operator),
        "resident_mb": resident_mb(operator.process.pid),
    }
    return operator, figures


def changes(world: World, operator: OperatorProcess, numbers: Sequence[int], memory: str) -> Figures:
    """Change one model after the other; seconds from each change to its Deployment in each region being so."""
    seconds = []
    before, server = cpu_seconds(operator.process.pid), world.server_cpu()
    for index, number in enumerate(numbers):
        name = f"model-{number:04}"
        where = path("ModelDeployment", name, NAMESPACE)
        began = time.monotonic()
        world.api.patch(where, {"spec": {"resources": {"memory": memory}}})
        child = path("Deployment", pool_name(name, REGIONS[index % len(REGIONS)], "default"), NAMESPACE)
        eventually(lambda child=child: _memory(world.api.get(child)) == memory, 60)
        seconds.append(time.monotonic() - began)
        time.sleep(0.2 + index % 7 / 10)
    _steady(operator, 60, time.monotonic())
    count = len(numbers)
    return {
        "changes": count,
        "p50_seconds": statistics.median(seconds),
        "p95_seconds": sorted(seconds)[max(0, -(-count * 95 // 100) - 1)],
        "longest_seconds": max(seconds),
        "cpu_seconds_per_change": (cpu_seconds(operator.process.pid) - before) / count,
        "server_cpu_seconds_per_change": (world.server_cpu() - server) / count,
    }


def storm(world: World, operator: OperatorProcess, events: int, models: int) -> Figures:
    """Changes of others that concern nobody: nodes' heartbeats, annotations on our objects, pods of others."""
    _steady(operator, 60, time.monotonic())
    before, reconciles, began = cpu_seconds(operator.process.pid), _reconciles(operator), time.monotonic()

    def one(number: int) -> None:
        name = f"model-{number % models:04}"
        region = REGIONS[number % len(REGIONS)]
        match number % 4:
            case 0:
                beat = {"type": "Ready", "status": "True", "reason": f"Beat{number}"}
                world.api.patch(f"/api/v1/nodes/node-{region}/status", {"status": {"conditions": [beat]}})
            case 1:
                # Not on a Deployment: there the API server counts it as a new generation, which has to be looked at.
                where = path("PodDisruptionBudget", pool_name(name, region, "default"), NAMESPACE)
                world.api.patch(where, {"metadata": {"annotations": {"mesh.example/seen": str(number)}}})
            case 2:
                where = path("Service", pool_name(name, region, "default"), NAMESPACE)
                world.api.patch(where, {"metadata": {"annotations": {"mesh.example/seen": str(number)}}})
            case _:
                metadata = {"name": f"other-{number}", "namespace": NAMESPACE}
                item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
                world.api.create(f"/api/v1/namespaces/{NAMESPACE}/configmaps", item)

    world.at_once(one, range(events))
    took = time.monotonic() - began
    _steady(operator, 60, time.monotonic())
    return {
        "events": events,
        "seconds": took,
        "reconciles": sum(_reconciles(operator).values()) - sum(reconciles.values()),
        "cpu_seconds": cpu_seconds(operator.process.pid) - before,
    }


def until(what: Callable[[], bool], limit: float, began: float) -> float:
    """Seconds since `began` when `what` first held. Raises TimeoutError."""
    while not what():
        if time.monotonic() - began > limit:
            raise TimeoutError(f"not within {limit:.0f} s")
        time.sleep(2.0)
    return time.monotonic() - began


def _steady(operator: OperatorProcess, limit: float, began: float) -> float:
    """Seconds since `began` until the operator's last work, once none has come for a while."""
    last: object = None
    since = time.monotonic()
    while True:
        metrics = operator.metrics()
        now = (_total(metrics, "tomoul_api_writes_total"), _total(metrics, "tomoul_reconciles_total"))
        if now != last or metrics["tomoul_queue_depth"]:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > QUIET_SECONDS:
            return since - began
        if time.monotonic() - began > limit:
            raise TimeoutError(f"not steady within {limit:.0f} s")
        time.sleep(2.0)


def _total(metrics: Mapping[str, float], name: str) -> float:
    return sum(value for each, value in metrics.items() if each.startswith(f"{name}{{"))


def _writes(operator: OperatorProcess) -> dict[tuple[str, str], int]:
    found = {}
    for name, value in operator.metrics().items():
        if name.startswith("tomoul_api_writes_total"):
            labels = dict(_LABELS.findall(name))
            found[labels["verb"], labels["kind"]] = int(value)
    return found


def _children(operator: OperatorProcess) -> int:
    """Applies of models' children, without those of the regions' gateways."""
    applied = sum(n for (verb, kind), n in _writes(operator).items() if verb == "apply" and kind in KINDS)
    return applied - len(REGIONS) * GATEWAY_CHILDREN


def _reconciles(operator: OperatorProcess) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in operator.metrics().items():
        if name.startswith("tomoul_reconciles_total"):
            labels = dict(_LABELS.findall(name))
            found[f"{labels['kind']} {labels['outcome']}"] = int(value)
    return found


def _programmed(world: World) -> int:
    """Models of which every region says that its gateways serve them."""
    count, token = 0, ""
    while True:
        query = {"limit": "500", **({"continue": token} if token else {})}
        page = world.api.get(f"{GROUP}/namespaces/{NAMESPACE}/modeldeployments", **query)
        for item in page["items"]:
            rows = item.get("status", {}).get("regions", ())
            count += len(rows) == len(REGIONS) and all(
                any(each["type"] == "RoutesProgrammed" and each["status"] == "True" for each in row["conditions"])
                for row in rows
            )
        if not (token := page["metadata"].get("continue", "")):
            return count


def _memory(deployment: Mapping[str, Any]) -> str:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return str(container["resources"]["requests"]["memory"])
