"""Region: the gateways of one region, and what can be said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import GatewayStatus, Region, RegionState, RegionStatus
from tomoul.plan.capacity import capacity, lost_nodes
from tomoul.plan.gateway import gateway
from tomoul.plan.gateways import acknowledgements, gateway_pods, rejection
from tomoul.plan.judge import Rollout, Verdict, condition, first_unmet, running, scheduled, shortened
from tomoul.plan.naming import gateway_name, table_name
from tomoul.plan.placement import labels_missing
from tomoul.plan.routing import active_here
from tomoul.plan.world import Key, Manifest, World
from tomoul.plan.written import tables_of, why_withheld


@dataclass(frozen=True)
class RegionPlan:
    """Desired objects of a Region (its RoutingTable apart), and its status without transition times."""

    objects: tuple[Manifest, ...]
    status: RegionStatus


def plan_region(world: World, name: str, statuses: Mapping[Key, ModelDeploymentStatus] | None = None) -> RegionPlan:
    """Plan one Region of `world.regions`; KeyError if it is not there.

    Models that are Ready are counted by `statuses`, or by what the models' own statuses said last.
    """
    region = world.regions[name]
    here = active_here(world, name)
    objects = gateway(region, world.settings) if here is not None else ()
    # Of a region that another operator hosts nobody here knows which models are ready.
    counts = _models(world, name, statuses) if world.settings.hosts(name) else None
    tables = tables_of(world, name).values()
    entries = [acknowledgements(table) for table in tables]
    status = RegionStatus(
        observed_generation=region.metadata.generation,
        conditions=tuple(
            condition(kind, verdict, region.metadata.generation) for kind, verdict in _verdicts(world, region).items()
        ),
        accelerators=capacity(world, region) if world.settings.hosts(name) else (),
        models_desired=counts.desired if counts is not None else 0,
        models_ready=counts.ready if counts is not None else 0,
        models=f"{counts.ready}/{counts.desired}" if counts is not None else "",
        gateways=tuple(
            GatewayStatus(
                name=pod.name,
                ready=pod.ready,
                accepted_generation=sum(each[pod.name].accepted_generation for each in entries if pod.name in each),
            )
            for pod in gateway_pods(world, name)
        ),
        routing_generation=sum(table.metadata.generation for table in tables),
    )
    return RegionPlan(objects, status)


def _verdicts(world: World, region: Region) -> dict[ConditionType, Verdict]:
    name = region.metadata.name
    if not world.settings.hosts(name):
        elsewhere = Verdict("Unknown", Reason.HOSTED_ELSEWHERE, _hosted_elsewhere(world, region))
        return {ConditionType.GATEWAYS_READY: elsewhere, ConditionType.READY: elsewhere}
    if region.spec.state is RegionState.DISABLED:
        disabled = Verdict("False", Reason.REGION_DISABLED, "The region is Disabled: nothing runs there")
        return {ConditionType.GATEWAYS_READY: disabled, ConditionType.READY: disabled}
    gateways = _gateways_ready(world, region)
    tables = tables_of(world, name)
    live = [pod.name for pod in gateway_pods(world, name) if pod.ready]
    served = next((found for table in tables.values() if (found := rejection(table, live)) is not None), None)
    if table_name(name) not in tables:
        served = Verdict("False", Reason.WAITING_FOR_TABLE, f"RoutingTable `{name}` does not exist yet")
    if (why := why_withheld(world.facts.withheld, name)) is not None:
        served = Verdict("False", Reason.TABLE_WITHHELD, shortened(why))
    unmet = first_unmet([gateways, *([served] if served is not None else [])])
    if unmet is None:
        ready = Verdict("True", Reason.READY, _shared_nodes(world, region))
    else:
        ready = Verdict("False", unmet.reason, unmet.message)
    return {ConditionType.GATEWAYS_READY: gateways, ConditionType.READY: ready}


def _hosted_elsewhere(world: World, region: Region) -> str:
    """What this operator hosts, too: a name that is misspelt there leaves its region to nobody."""
    hosted = ", ".join(f"`{name}`" for name in sorted(world.settings.hosted_regions or ()))
    unreached = "" if region.spec.endpoint else "; no call from here reaches it, since it has no `endpoint.url`"
    return f"Another operator hosts this region, this one {hosted or 'none'} (`hostRegions`){unreached}"


def _shared_nodes(world: World, region: Region) -> str:
    """Which regions hosted here have nodes in common with this one; empty if none is known to."""
    own = region.spec.placement.node_selector.items()
    found = []
    for name, other in sorted(world.regions.items()):
        others = other.spec.placement.node_selector.items()
        if name != region.metadata.name and active_here(world, name) and (own <= others or others <= own):
            found.append(f"`{name}`")
    if not found:
        return ""
    return f"Nodes are shared with {', '.join(found)}: `placement.nodeSelector` does not tell them apart"


def _gateways_ready(world: World, region: Region) -> Verdict:
    key = Key(world.settings.namespace, gateway_name(region.metadata.name))
    rollout = Rollout(
        key.name,
        world.settings.gateway_replicas,
        world.facts.deployments.get(key),
        world.facts.pods.get(key, ()),
    )
    placed = scheduled([rollout])
    if placed.reason is not Reason.UNSCHEDULABLE:
        return running([rollout], lost_nodes(world))
    missing = labels_missing(world, region)
    return placed._replace(message=f"{placed.message}; {missing}") if missing else placed


class _Counts(NamedTuple):
    """Models that are Ready in a region, and those that name it."""

    ready: int
    desired: int


def _models(world: World, region: str, statuses: Mapping[Key, ModelDeploymentStatus] | None) -> _Counts:
    ready = desired = 0
    for key, model in world.models.items():
        if model.metadata.deletion_timestamp is not None or all(t.name != region for t in model.spec.regions):
            continue
        desired += 1
        status = model.status if statuses is None else statuses[key]
        row = next((row for row in status.regions if row.name == region), None)
        ready += row is not None and any(
            entry.type == ConditionType.READY and entry.status == "True" for entry in row.conditions
        )
    return _Counts(ready, desired)
