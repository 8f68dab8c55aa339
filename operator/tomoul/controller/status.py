"""Status: write what a plan says of a resource, if it differs from what the resource says already."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import Region, RegionStatus
from tomoul.api.tenant import Tenant, TenantStatus
from tomoul.controller.context import Context
from tomoul.controller.declared import Declared, conditions_of
from tomoul.controller.recorder import About
from tomoul.kube.resources import MODEL_DEPLOYMENTS, TENANTS, Resource
from tomoul.plan.events import changes, events
from tomoul.plan.judge import shortened
from tomoul.plan.merge import merge_conditions, merge_status
from tomoul.plan.rollup import roll_up
from tomoul.plan.world import Key

R = TypeVar("R", ModelDeployment, Region, Tenant)
_SUMMARIES = (ConditionType.ACCEPTED, ConditionType.READY)
Status = TypeVar("Status", ModelDeploymentStatus, RegionStatus, TenantStatus)


async def write_status(context: Context, resource: Resource, key: Key, uid: str, old: Status, new: Status) -> Status:
    """Write `new` with its transition times unless `old` says the same; returns what the status is now."""
    merged = merge_status(old, new, context.now())
    if merged != old:
        await _apply(context, resource, key, uid, merged.model_dump(mode="json", by_alias=True, exclude_none=True))
        context.recorder.offer(About(resource, key, uid), events(old, merged))
    return merged


async def write_going(
    context: Context, resource: Resource, key: Key, found: Declared[R], going: Callable[[Any, int], Any]
) -> None:
    """Tell a resource that is being deleted that it is; `going` makes of its status and generation what it is then."""
    if found.resource is not None:
        before = found.resource.status
        await write_status(context, resource, key, found.uid, before, going(before, found.generation))


async def write_invalid(context: Context, resource: Resource, key: Key, found: Declared[R]) -> None:
    """Tell a resource that cannot be read what is wrong with it. What it was before goes on running."""
    message = f"{found.errors}; what was accepted before stays as it is"[:4096]
    told = [
        Condition(
            type=kind,
            status="False",
            reason=Reason.INVALID_SPEC,
            message=message,
            observed_generation=found.generation,
        )
        for kind in _SUMMARIES
    ]
    before = conditions_of(found.status)
    told += [entry for entry in before if entry.type not in _SUMMARIES]
    merged = merge_conditions(before, told, context.now())
    summary: dict[str, object] = {"observedGeneration": found.generation}
    if resource in (MODEL_DEPLOYMENTS, TENANTS):
        summary["reason"] = Reason.INVALID_SPEC.value
    if set(merged) != set(before) or not summary.items() <= found.status.items():
        dumped = [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in merged]
        # What is left out would be removed: the rows of the regions still say what goes on running.
        await _apply(context, resource, key, found.uid, {**found.status, **summary, "conditions": dumped})
        context.recorder.offer(About(resource, key, found.uid), changes("", before, merged))


def refused_model(
    model: ModelDeployment, status: ModelDeploymentStatus, refusals: Mapping[str, str]
) -> ModelDeploymentStatus:
    """The status of a model for which the API server refuses objects, in its words by region."""
    rows = [
        row.model_copy(
            update={
                "conditions": _refused(row.conditions, ConditionType.WORKLOAD_READY, refusals[row.name]),
                "waiting_for": shortened(refusals[row.name]),
            }
        )
        if row.name in refusals
        else row
        for row in status.regions
    ]
    status = roll_up(model, rows)
    left = sorted(refusals.keys() - {row.name for row in rows})
    if not left:
        return status
    # What runs in a region that is not in the spec any more is in no row, and it should be gone.
    words = "; ".join(f"{name}: it is to be cleared, and {refusals[name]}" for name in left)
    conditions = _refused(status.conditions, ConditionType.WORKLOAD_READY, words)
    return status.model_copy(update={"conditions": conditions, "reason": Reason.APPLY_REFUSED.value})


def refused_region(status: RegionStatus, message: str) -> RegionStatus:
    """The status of a region for which the API server refuses objects."""
    return status.model_copy(update={"conditions": _refused(status.conditions, ConditionType.GATEWAYS_READY, message)})


def _refused(conditions: tuple[Condition, ...], kind: ConditionType, message: str) -> tuple[Condition, ...]:
    told = {"status": "False", "reason": Reason.APPLY_REFUSED, "message": shortened(message)}
    # Pods that do not come have the refusal as their cause: Ready tells the cause.
    return tuple(
        entry.model_copy(update=told) if entry.type in (kind, ConditionType.READY) else entry for entry in conditions
    )


async def _apply(context: Context, resource: Resource, key: Key, uid: str, status: dict[str, object]) -> None:
    metadata = {"name": key.name, "uid": uid} | ({"namespace": key.namespace} if key.namespace else {})
    await context.writer.apply_status(
        {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status}
    )
