"""Merge: transition times, which depend on what a status said before."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import RegionStatus
from tomoul.api.tenant import TenantStatus

Status = TypeVar("Status", ModelDeploymentStatus, RegionStatus, TenantStatus)


def merge_conditions(old: Sequence[Condition], new: Sequence[Condition], now: datetime) -> tuple[Condition, ...]:
    """The new conditions; the transition time is `now`, in whole seconds, only where the status changed."""
    before = {entry.type: entry for entry in old}
    merged = []
    for entry in new:
        known = before.get(entry.type)
        same = known is not None and known.status == entry.status and known.last_transition_time is not None
        time = known.last_transition_time if known is not None and same else now.replace(microsecond=0)
        merged.append(entry.model_copy(update={"last_transition_time": time}))
    return tuple(merged)


def merge_status(old: Status, new: Status, now: datetime) -> Status:
    """The new status with transition times; equal to `old` if nothing but the time has passed."""
    update: dict[str, object] = {"conditions": merge_conditions(old.conditions, new.conditions, now)}
    if isinstance(new, ModelDeploymentStatus):
        assert isinstance(old, ModelDeploymentStatus)
        before = {row.name: row.conditions for row in old.regions}
        update["regions"] = tuple(
            row.model_copy(update={"conditions": merge_conditions(before.get(row.name, ()), row.conditions, now)})
            for row in new.regions
        )
    return new.model_copy(update=update)
