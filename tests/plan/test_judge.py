"""What is said of pools of pods while one revision takes over from another."""

from datetime import UTC, datetime

import pytest

from tomoul.api.conditions import Reason
from tomoul.plan.judge import Rollout, running, stalled
from tomoul.plan.podfact import ContainerFact, PodFact
from tomoul.plan.world import DeploymentFact

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
LOADING = PodFact(
    "new", "n", "Running", scheduled=True, revision="b", containers=[ContainerFact("engine", running_since=SINCE)]
)


def serving(name: str, revision: str) -> PodFact:
    return PodFact(name, "n", "Running", ready=True, scheduled=True, revision=revision)


def surging(wanted: int, *pods: PodFact, updated: int = 1, overdue: bool = False, revision: str = "b") -> Rollout:
    """A pool whose newest revision is `b`, as its Deployment tells it."""
    ready = sum(pod.ready for pod in pods)
    fact = DeploymentFact(2, 2, wanted, updated, ready, len(pods), revision, surge=True, overdue=overdue)
    return Rollout("chat", wanted, fact, pods)


@pytest.mark.parametrize(
    ("rollout", "told"),
    [
        (surging(1, serving("old", "a"), LOADING), "1 of 1 replicas of `chat` are ready (0 of the newest revision)"),
        (
            surging(2, serving("old", "a"), serving("first", "b"), LOADING, updated=2),
            "2 of 2 replicas of `chat` are ready (1 of the newest revision)",
        ),
    ],
)
def test_the_last_pod_of_a_surge_is_waited_for_while_a_former_one_is_ready_in_its_place(
    rollout: Rollout, told: str
) -> None:
    verdict = running([rollout])
    assert (verdict.status, verdict.reason) == ("False", Reason.ROLLOUT_IN_PROGRESS)
    assert verdict.message == f"{told}; pod `new` runs `engine` since 2026-01-01T00:00:00Z, which has not answered yet"


def test_a_surge_whose_only_new_pod_never_answers_is_late_although_enough_pods_are_ready() -> None:
    rollout = surging(1, serving("old", "a"), LOADING, overdue=True)
    assert stalled([rollout], running([rollout])).reason == Reason.ROLLOUT_DEADLINE_EXCEEDED


def test_a_rollout_is_over_once_no_former_pod_is_left() -> None:
    assert running([surging(2, serving("one", "b"), serving("two", "b"), updated=2)]).status == "True"


def test_of_gateways_whose_pods_tell_no_revision_those_are_new_that_cannot_be_former_ones() -> None:
    pods = [PodFact(name, ready=True, scheduled=True) for name in ("old", "first")]
    rollout = surging(2, *pods, PodFact("second", scheduled=True), updated=2, revision="")
    assert "2 of 2 replicas of `chat` are ready (1 of the newest revision)" in running([rollout]).message
