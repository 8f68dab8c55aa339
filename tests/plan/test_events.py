"""Which steps of a status are worth an Event."""

import pytest

from tomoul.api.conditions import Reason
from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.api.tenant import TenantStatus
from tomoul.plan.events import INTENDED, MAX_NOTE, changes, events

READY = ("True", Reason.READY)
LOADING = ("False", Reason.MODEL_LOADING)
CRASHED = ("False", Reason.CRASH_LOOP)
STUCK = ("False", Reason.UNSCHEDULABLE)
Summary = tuple[str, Reason]


def ready(summary: Summary | None, message: str = "words") -> tuple[Condition, ...]:
    if summary is None:
        return ()
    accepted = Condition(type="Accepted", status="True", reason="Accepted")
    return accepted, Condition(type="Ready", status=summary[0], reason=summary[1], message=message)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, LOADING, None),
        (None, READY, ("Normal", "Ready")),
        (None, STUCK, ("Warning", "Unschedulable")),
        (LOADING, ("False", Reason.WAITING_FOR_GATEWAYS), None),
        (LOADING, READY, ("Normal", "Ready")),
        (LOADING, CRASHED, ("Warning", "CrashLoop")),
        (CRASHED, STUCK, ("Warning", "Unschedulable")),
        (CRASHED, LOADING, None),
        (CRASHED, READY, ("Normal", "Ready")),
        (READY, ("False", Reason.ROLLOUT_IN_PROGRESS), ("Normal", "RolloutInProgress")),
        (READY, CRASHED, ("Warning", "CrashLoop")),
        (READY, READY, None),
        (CRASHED, CRASHED, None),
    ],
)
def test_an_event_tells_what_became_ready_stopped_or_failed_and_no_progress(
    before: Summary | None, after: Summary, told: tuple[str, str] | None
) -> None:
    found = changes("eu", ready(before), ready(after, "other words"))
    assert [(event.type, event.reason) for event in found] == ([told] if told else [])
    assert all(event.note == "eu: other words" for event in found)


def test_each_region_has_events_of_its_own_and_the_whole_adds_none() -> None:
    def status(eu: Summary, us: Summary) -> ModelDeploymentStatus:
        rows = (RegionModelStatus(name="eu", conditions=ready(eu)), RegionModelStatus(name="us", conditions=ready(us)))
        return ModelDeploymentStatus(conditions=ready(us), regions=rows)

    found = events(status(LOADING, LOADING), status(READY, CRASHED))
    assert [(event.region, event.reason) for event in found] == [("eu", "Ready"), ("us", "CrashLoop")]
    assert events(status(READY, CRASHED), status(READY, CRASHED)) == ()


def test_what_stays_in_a_region_that_a_model_has_left_has_events_of_the_whole() -> None:
    row = RegionModelStatus(name="eu", conditions=ready(READY))
    well = ModelDeploymentStatus(conditions=ready(READY), regions=(row,))
    refused = ready(("False", Reason.APPLY_REFUSED), "us: it is to be cleared")
    kept = ModelDeploymentStatus(conditions=refused, regions=(row,))
    assert [(each.type, each.reason, each.region) for each in events(well, kept)] == [("Warning", "ApplyRefused", "")]
    assert [(each.type, each.reason, each.region) for each in events(kept, well)] == [("Normal", "Ready", "")]
    assert events(kept, kept) == ()


def test_a_tenants_event_is_about_its_enforcement() -> None:
    def status(held: str, reason: Reason) -> TenantStatus:
        return TenantStatus(conditions=(Condition(type="Enforced", status=held, reason=reason, message="m"),))  # type: ignore[arg-type]

    assert events(TenantStatus(), status("False", Reason.AUTH_DISABLED)) == ()
    (event,) = events(TenantStatus(), status("True", Reason.ENFORCED))
    assert (event.type, event.reason, event.note) == ("Normal", "Enforced", "m")


def test_a_note_fits_into_an_event() -> None:
    (event,) = changes("eu", (), ready(CRASHED, "x" * 4000))
    assert len(event.note.encode()) == MAX_NOTE
    (event,) = changes("eu", (), ready(CRASHED, "×" * 4000))
    assert MAX_NOTE - 1 <= len(event.note.encode()) <= MAX_NOTE
    assert event.note.endswith("×…")


def test_no_failure_of_a_pod_passes_as_intended() -> None:
    assert not INTENDED & {Reason.CRASH_LOOP, Reason.OUT_OF_MEMORY, Reason.UNSCHEDULABLE, Reason.INVALID_SPEC}
