"""What is said of pools of pods while one revision takes over from another."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tomoul.api.conditions import Reason
from tomoul.plan.judge import Rollout, running, scheduled, stalled
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


def test_a_pool_for_no_store_does_not_answer_for_the_one_that_all_other_calls_go_to() -> None:
    empty = Rollout("chat", 1, DeploymentFact(1, 1, replicas=1), ())
    second = Rollout("chat-no-store", 1, DeploymentFact(1, 1, replicas=1, updated=1, ready=1, total=1), ())
    assert running([empty, second]).reason == Reason.NO_REPLICA_READY
    assert running([second, empty]).reason == Reason.SOME_REPLICAS_READY
    asleep = Rollout("chat", 0, DeploymentFact(1, 1), ())
    assert running([asleep, empty]).reason == Reason.NO_REPLICA_READY


def test_a_pod_that_a_queue_has_not_admitted_yet_says_so() -> None:
    gated = PodFact("p", gates=["kueue.x-k8s.io/admission"])
    told = scheduled([Rollout("chat", 1, DeploymentFact(1, 1, replicas=1, total=1), [gated])])
    assert (told.status, told.reason) == ("False", Reason.WAITING_FOR_PODS)
    assert told.message == (
        "1 of 1 pods of `chat` have no node yet; "
        "pod `p` waits for whoever is to remove its scheduling gate `kueue.x-k8s.io/admission`"
    )


def test_a_rollout_that_somebody_has_paused_says_so() -> None:
    fact = DeploymentFact(2, 2, replicas=1, updated=0, ready=1, total=1, revision="b", paused=True)
    told = running([Rollout("chat", 1, fact, [serving("old", "a")])])
    assert told.reason == Reason.ROLLOUT_IN_PROGRESS
    assert "Deployment `chat` is paused: `kubectl rollout resume` lets it go on" in told.message
    done = replace(fact, updated=1)
    assert "paused" not in running([Rollout("chat", 1, done, [serving("new", "b")])]).message


@pytest.mark.parametrize(("updated", "ready"), [(0, 1), (1, 0)])
def test_pods_that_the_api_server_refuses_are_nothing_to_wait_for_in_a_rollout_or_outside_of_one(
    updated: int, ready: int
) -> None:
    fact = DeploymentFact(1, 1, 1, updated, ready, 1, "b", refused="forbidden: exceeded quota: gpus")
    told = running([Rollout("chat", 1, fact, [])])
    assert told.reason == Reason.PODS_REFUSED
    assert told.message.endswith("pods of `chat` are not made: forbidden: exceeded quota: gpus")
    assert scheduled([Rollout("chat", 1, fact, [])]).reason == Reason.PODS_REFUSED
    past = replace(fact, updated=1, ready=1)
    assert running([Rollout("chat", 1, past, [serving("one", "b")])]).status == "True"
