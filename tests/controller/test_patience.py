"""Which statuses wait for routes that are on their way."""

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.controller.patience import Patience
from tomoul.plan.world import Key

KEY = Key("models", "chat")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def status(generation: int = 1, scheduled: Reason = Reason.WAITING_FOR_PODS, **routes: Reason) -> ModelDeploymentStatus:
    def row(name: str, reason: Reason) -> RegionModelStatus:
        known = "True" if reason is Reason.ACKNOWLEDGED else "False"
        conditions = (
            Condition(type=ConditionType.SCHEDULED, status="False", reason=scheduled),
            Condition(type=ConditionType.ROUTES_PROGRAMMED, status=known, reason=reason),
        )
        return RegionModelStatus(name=name, conditions=conditions, waiting_for=reason.value)

    rows = tuple(row(name, reason) for name, reason in routes.items())
    return ModelDeploymentStatus(observed_generation=generation, regions=rows)


TABLE = status(eu=Reason.WAITING_FOR_TABLE, us=Reason.WAITING_FOR_TABLE)
ONE = status(eu=Reason.ACKNOWLEDGED, us=Reason.WAITING_FOR_GATEWAYS)
ALL = status(eu=Reason.ACKNOWLEDGED, us=Reason.ACKNOWLEDGED)


def test_steps_of_routes_on_their_way_wait_and_the_end_of_it_does_not() -> None:
    clock = Clock()
    patience = Patience(clock)
    assert patience.left(KEY, TABLE, ONE, 4) == 4
    clock.now += 3
    assert patience.left(KEY, TABLE, ONE, 4) == 1
    assert patience.left(KEY, TABLE, ALL, 4) == 0


def test_what_is_on_its_way_for_too_long_is_told() -> None:
    clock = Clock()
    patience = Patience(clock)
    assert patience.left(KEY, TABLE, ONE, 4) == 4
    clock.now += 4
    assert patience.left(KEY, TABLE, ONE, 4) == 0


def test_what_else_is_new_is_told_at_once() -> None:
    patience = Patience(Clock())
    assert patience.left(KEY, ModelDeploymentStatus(), TABLE, 4) == 0, "the first word on a model"
    newer = status(2, eu=Reason.WAITING_FOR_TABLE, us=Reason.WAITING_FOR_TABLE)
    assert patience.left(KEY, TABLE, newer, 4) == 0, "a new generation"
    stuck = status(1, Reason.UNSCHEDULABLE, eu=Reason.WAITING_FOR_TABLE, us=Reason.WAITING_FOR_TABLE)
    assert patience.left(KEY, TABLE, stuck, 4) == 0, "pods that find no node"


def test_a_pod_is_told_to_be_ready_together_with_its_endpoint_unless_that_does_not_come() -> None:
    clock = Clock()
    patience = Patience(clock)
    lacking = status(1, Reason.ACCEPTED, eu=Reason.WAITING_FOR_ENDPOINTS, us=Reason.ACKNOWLEDGED)
    reached = status(1, Reason.ACCEPTED, eu=Reason.ACKNOWLEDGED, us=Reason.ACKNOWLEDGED)
    assert patience.left(KEY, ALL, lacking, 4) == 4
    assert patience.left(KEY, ALL, reached, 4) == 0
    assert patience.left(KEY, ALL, lacking, 4) == 4
    clock.now += 4
    assert patience.left(KEY, ALL, lacking, 4) == 0


def test_a_gateway_that_refuses_and_one_that_is_missing_are_told_at_once() -> None:
    patience = Patience(Clock())
    for reason in (Reason.REJECTED_BY_GATEWAY, Reason.NO_LIVE_GATEWAY):
        assert patience.left(KEY, TABLE, status(eu=reason, us=Reason.ACKNOWLEDGED), 4) == 0
