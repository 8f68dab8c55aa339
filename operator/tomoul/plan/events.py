"""Events: what a change of status is worth telling, for `kubectl describe` and `kubectl events`.

They are made of two statuses and nothing else: without a change there is none, however often the operator starts.
Told are what became ready, what stopped being ready, and every other cause for that; progress is not.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import RegionStatus
from tomoul.api.tenant import TenantStatus

MAX_NOTE = 1024
"""Longest note of an Event that the API server takes, in bytes, whatever it says of characters."""
INTENDED = frozenset(
    {
        Reason.PENDING,
        Reason.BEING_DELETED,
        Reason.HOSTED_ELSEWHERE,
        Reason.REGION_DISABLED,
        Reason.WAITING_FOR_PODS,
        Reason.MODEL_LOADING,
        Reason.ROLLOUT_IN_PROGRESS,
        Reason.SCALED_TO_ZERO,
        Reason.WAITING_FOR_TABLE,
        Reason.WAITING_FOR_GATEWAYS,
        Reason.WAITING_FOR_ENDPOINTS,
        Reason.SOME_REPLICAS_READY,
        Reason.NO_REPLICA_READY,
        Reason.AUTH_DISABLED,
    }
)
"""Reasons that are no fault by themselves: on the way to a state that was asked for, or asked for."""


class Event(NamedTuple):
    """One thing that happened to an object. Equal in all but the note: the same thing, again."""

    type: Literal["Normal", "Warning"]
    reason: str
    region: str
    """Region of a ModelDeployment's row; empty for the object as a whole."""
    note: str


def became_ready(region: str, condition: Condition) -> Event:
    """It holds from now on."""
    return Event("Normal", condition.reason, region, _note(region, condition.message or "Everything holds"))


def stopped(region: str, condition: Condition) -> Event:
    """It held, and does not while something goes on that was asked for."""
    return Event("Normal", condition.reason, region, _note(region, condition.message))


def failed(region: str, condition: Condition) -> Event:
    """It does not hold, and somebody has to do something."""
    return Event("Warning", condition.reason, region, _note(region, condition.message))


def kept(note: str) -> Event:
    """Routes of a region that nothing known accounts for any more, and that are there: a watch has lied."""
    return Event("Warning", Reason.TABLE_WITHHELD, "", fitting(note))


def fitting(note: str, most: int = MAX_NOTE) -> str:
    """`note`, cut to `most` bytes."""
    data, end = note.encode(), "…"
    if len(data) <= most:
        return note
    return data[: most - len(end.encode())].decode(errors="ignore") + end


def events(
    old: ModelDeploymentStatus | RegionStatus | TenantStatus, new: ModelDeploymentStatus | RegionStatus | TenantStatus
) -> tuple[Event, ...]:
    """What the step from one status of an object to the next is worth telling."""
    if not isinstance(new, ModelDeploymentStatus) or not isinstance(old, ModelDeploymentStatus):
        return changes("", old.conditions, new.conditions)
    before = {row.name: row.conditions for row in old.regions}
    found = [event for row in new.regions for event in changes(row.name, before.get(row.name, ()), row.conditions)]
    if _is_not_cleared(old) or _is_not_cleared(new):
        found += changes("", old.conditions, new.conditions)
    return tuple(found)


def changes(region: str, old: Sequence[Condition], new: Sequence[Condition]) -> tuple[Event, ...]:
    """What the step from some conditions to others is worth telling: at most one Event."""
    after = _summary(new)
    before = _summary(old)
    if after is None or (before is not None and (before.status, before.reason) == (after.status, after.reason)):
        return ()
    if after.status == "True":
        return (became_ready(region, after),)
    if after.reason not in INTENDED:
        return (failed(region, after),)
    return (stopped(region, after),) if before is not None and before.status == "True" else ()


def _is_not_cleared(status: ModelDeploymentStatus) -> bool:
    """Whether the API server keeps what is to go from a region that has no row any more."""
    over_all, *rows = (_summary(each) for each in (status.conditions, *(row.conditions for row in status.regions)))
    refused = [found is not None and found.reason == Reason.APPLY_REFUSED for found in (over_all, *rows)]
    return refused[0] and not any(refused[1:])


def _summary(conditions: Iterable[Condition]) -> Condition | None:
    """What speaks for all: `Ready`; of a Tenant `Enforced`, or `Accepted` where only that does not hold."""
    by_type = {condition.type: condition for condition in conditions}
    if (ready := by_type.get(ConditionType.READY)) is not None:
        return ready
    enforced, accepted = by_type.get(ConditionType.ENFORCED), by_type.get(ConditionType.ACCEPTED)
    if enforced is None or enforced.status != "True" or accepted is None or accepted.status == "True":
        return enforced
    return accepted


def _note(region: str, message: str) -> str:
    return fitting(f"{region}: {message}" if region else message)
