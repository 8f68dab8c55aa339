from datetime import UTC, datetime, timedelta

from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.plan.merge import merge_conditions, merge_status

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def ready(status: str, reason: str = "Ready", time: datetime | None = None) -> Condition:
    return Condition.model_validate({"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": time})


def test_a_new_condition_begins_now_in_whole_seconds() -> None:
    (merged,) = merge_conditions((), (ready("True"),), NOON)
    assert merged.last_transition_time == NOON.replace(microsecond=0)


def test_another_reason_keeps_the_time_of_the_status() -> None:
    (merged,) = merge_conditions((ready("False", "Pending", NOON),), (ready("False", "CrashLoop"),), LATER)
    assert merged.last_transition_time == NOON
    assert merged.reason == "CrashLoop"


def test_another_status_sets_the_time() -> None:
    (merged,) = merge_conditions((ready("False", "Pending", NOON),), (ready("True"),), LATER)
    assert merged.last_transition_time == LATER.replace(microsecond=0)


def test_a_condition_that_is_no_longer_judged_goes() -> None:
    assert merge_conditions((ready("True", time=NOON),), (), LATER) == ()


def test_each_regions_conditions_keep_their_own_times() -> None:
    def status(eu: Condition, us: Condition) -> ModelDeploymentStatus:
        rows = RegionModelStatus(name="eu-west", conditions=(eu,)), RegionModelStatus(name="us-east", conditions=(us,))
        return ModelDeploymentStatus(regions=rows)

    old = status(ready("True", time=NOON), ready("True", time=NOON))
    merged = merge_status(old, status(ready("True"), ready("False")), LATER)
    assert [row.conditions[0].last_transition_time for row in merged.regions] == [NOON, LATER.replace(microsecond=0)]
