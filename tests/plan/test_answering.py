"""ModelReady: whether engines have really answered."""

from dataclasses import replace
from datetime import UTC, datetime

from tomoul.api.conditions import Reason
from tomoul.plan.answering import answering
from tomoul.plan.judge import Rollout
from tomoul.plan.podfact import ContainerFact, PodFact, Termination

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(name: str, container: ContainerFact) -> PodFact:
    return PodFact(name, scheduled=True, containers=[container])


LOADING = pod("loading", ContainerFact("engine", running_since=SINCE))
ANSWERED = pod("answered", ContainerFact("engine", started=True, running_since=SINCE))


def test_one_engine_that_has_answered_is_enough_for_its_pool() -> None:
    assert answering([Rollout("pool", 2, None, [LOADING, ANSWERED])]).status == "True"


def test_each_pool_that_is_to_serve_needs_one() -> None:
    found = answering([Rollout("default", 1, None, [ANSWERED]), Rollout("no-store", 1, None, [LOADING])])
    assert (found.status, found.reason) == ("False", Reason.MODEL_LOADING)
    assert found.message == (
        "No engine of `no-store` has answered a call yet; "
        "pod `loading` runs `engine` since 2026-01-01T12:00:00Z, which has not answered yet"
    )
    assert answering([Rollout("default", 1, None, [ANSWERED]), Rollout("no-store", 0, None, [])]).status == "True"


def test_an_engine_that_is_about_to_go_does_not_count() -> None:
    going = PodFact("going", ready=True, terminating=True)
    assert answering([Rollout("pool", 1, None, [going])]).status == "False"


def test_an_engine_whose_node_is_lost_does_not_count() -> None:
    lost = replace(ANSWERED, node="n")
    assert answering([Rollout("pool", 1, None, [lost])], {"n"}).reason == Reason.NODE_NOT_READY
    assert answering([Rollout("pool", 1, None, [lost])], {"other"}).status == "True"
    assert answering([Rollout("pool", 1, None, [replace(lost, ready=True)])], {"n"}).status == "True"


def test_the_cause_is_told_where_a_pod_fails_before_it_has_answered() -> None:
    crashed = pod("crashed", ContainerFact("engine", ended=Termination(1, "Error", "bad flag")))
    found = answering([Rollout("pool", 1, None, [crashed])])
    assert found.reason == Reason.CRASH_LOOP
    assert answering([Rollout("pool", 1, None, [crashed, ANSWERED])]).status == "True", "the old revision serves"


def test_nothing_is_ready_where_nothing_is_wanted() -> None:
    assert answering([Rollout("pool", 0, None, [])]).reason == Reason.SCALED_TO_ZERO


def test_a_pod_that_has_no_node_does_not_load() -> None:
    assert answering([Rollout("pool", 1, None, [PodFact("pending")])]).reason == Reason.WAITING_FOR_PODS
