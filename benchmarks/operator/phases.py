"""The phases of a run, each with its figures."""

import time
from typing import Any

from benchmarks.operator.effort import cpu_seconds, resident_mb
from benchmarks.operator.fleet import CHILDREN, NAMESPACE, REGIONS
from benchmarks.operator.readings import KINDS, children, reconciles, steady, until, writes
from benchmarks.operator.world import World
from tests.controlplane.api import eventually
from tests.integration.operators import GROUP, OperatorProcess, path
from tomoul.plan.naming import pool_name

Figures = dict[str, Any]


def start(world: World, name: str, *flags: str) -> OperatorProcess:
    """An operator that leads."""
    log = world.folder / f"operator-{name}.log"
    operator = OperatorProcess(world.plane.kubeconfig, log, "--gateway-replicas=1", *flags, forked=False)
    eventually(operator.leads, 90)
    return operator


def growth(world: World, operator: OperatorProcess, models: int, limit: float) -> Figures:
    """Create models while the operator runs, until everything is applied and told, or `limit` seconds have passed."""
    pid = operator.process.pid
    before, server, began = cpu_seconds(pid), world.server_cpu(), time.monotonic()
    world.add_models(range(models))
    created = time.monotonic() - began
    wanted = models * CHILDREN
    applied = until(lambda: children(operator) >= wanted, limit, began)
    at_applied = cpu_seconds(pid) - before
    server_at_applied = world.server_cpu() - server
    steady_at = steady(operator, limit, began)
    written = writes(operator)
    return {
        "models": models,
        "children": {kind: world.count(kind) for kind in KINDS},
        "created_seconds": created,
        "applied_seconds": applied,
        "steady_seconds": steady_at,
        "cpu_seconds_until_applied": at_applied,
        "server_cpu_seconds_until_applied": server_at_applied,
        "cpu_seconds_until_steady": cpu_seconds(pid) - before,
        "server_cpu_seconds_until_steady": world.server_cpu() - server,
        "child_writes": children(operator),
        "model_status_writes": sum(
            n for (verb, kind), n in written.items() if (verb, kind) == ("status", "ModelDeployment")
        ),
        "table_writes": sum(n for (_, kind), n in written.items() if kind == "RoutingTable"),
        "writes": {f"{verb} {kind}": count for (verb, kind), count in sorted(written.items())},
        "reconciles": reconciles(operator),
        "resident_mb": resident_mb(pid),
        "programmed": _programmed(world),
    }


def restart(world: World, *flags: str) -> tuple[OperatorProcess, Figures]:
    """Start an operator in a world that is as it should be."""
    began = time.monotonic()
    operator = start(world, "again", *flags)
    led = time.monotonic() - began
    steady_at = steady(operator, 120, began)
    figures = {
        "leading_seconds": led,
        "steady_seconds": steady_at,
        "cpu_seconds": cpu_seconds(operator.process.pid),
        "writes": {f"{verb} {kind}": count for (verb, kind), count in writes(operator).items()},
        "reconciles": reconciles(operator),
        "resident_mb": resident_mb(operator.process.pid),
    }
    return operator, figures


def storm(world: World, operator: OperatorProcess, events: int, models: int) -> Figures:
    """Changes of others that concern nobody: nodes' heartbeats, annotations on our objects, pods of others."""
    steady(operator, 60, time.monotonic())
    before, done, began = cpu_seconds(operator.process.pid), reconciles(operator), time.monotonic()

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
    steady(operator, 60, time.monotonic())
    return {
        "events": events,
        "seconds": took,
        "reconciles": sum(reconciles(operator).values()) - sum(done.values()),
        "cpu_seconds": cpu_seconds(operator.process.pid) - before,
    }


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
