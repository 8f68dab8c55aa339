"""Strategy: whether a pool's new revision surges or replaces, and why.

A Deployment is the record of its rollout: while it has the wanted revision, it keeps the strategy that it got together
with it, whatever becomes free or full meanwhile. Auto has one way back: pods that are not Tomoul's are not known, so
where the scheduler finds no node after all, a surge becomes a replacement, once.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tomoul.api.rollout import RolloutReason, RolloutStatus, RolloutStrategy
from tomoul.plan.failures import repeated
from tomoul.plan.podfact import PodFact
from tomoul.plan.revision import pods_of_replica, revision_of, serving_pod
from tomoul.plan.room import room_for
from tomoul.plan.world import DeploymentFact, Facts, Manifest


class Choice(NamedTuple):
    """How a pool's pods are replaced."""

    strategy: RolloutStrategy
    """Surge or Replace."""
    reason: RolloutReason
    message: str = ""


NOTHING_TO_REPLACE = Choice(RolloutStrategy.REPLACE, RolloutReason.NOTHING_TO_REPLACE)


def choose(
    requested: RolloutStrategy,
    template: Manifest,
    fact: DeploymentFact | None,
    pods: Sequence[PodFact],
    facts: Facts,
    *,
    at_once: int = 1,
    leaving: Sequence[PodFact] = (),
    before: RolloutStatus | None = None,
) -> Choice:
    """The choice for a pool whose pods should be made from `template`.

    `fact` and `pods` are what there is of it, `at_once` is how many pods would surge at the same time, `leaving` are
    pods whose places those get, and `before` is what was said last of the rollout.
    """
    if requested is not RolloutStrategy.AUTO:
        return Choice(requested, RolloutReason.REQUESTED)
    if fact is None or (fact.revision != revision_of(template) and not fact.total and not fact.replicas):
        return NOTHING_TO_REPLACE
    if fact.revision == revision_of(template):
        lost = {node.name for node in facts.nodes if not node.reachable}
        return _kept(template, fact, [pod for pod in pods if not (pod.terminating and pod.node in lost)], before)
    room = room_for(facts, serving_pod(template), at_once * pods_of_replica(template), leaving)
    if room.fits:
        return Choice(RolloutStrategy.SURGE, RolloutReason.REPLICA_FITS, f"One more replica fits: {room.words}")
    return Choice(RolloutStrategy.REPLACE, RolloutReason.NO_ROOM, f"One more replica does not fit: {room.words}")


def surplus(fact: DeploymentFact, pods: Sequence[PodFact]) -> list[PodFact]:
    """Pods that a surge has brought and that go before any that serves, if there is a newer revision now."""
    if not fact.surge or fact.total <= fact.replicas:
        return []
    return [pod for pod in pods if not pod.ended and (pod.terminating or not pod.ready)]


def rolling(fact: DeploymentFact) -> bool:
    """Whether there are pods of a former template beside those of the newest, or may be."""
    return fact.observed_generation < fact.generation or fact.total > fact.updated


def _kept(template: Manifest, fact: DeploymentFact, pods: Sequence[PodFact], before: RolloutStatus | None) -> Choice:
    if fact.surge and fact.total > fact.updated and (words := _unschedulable(revision_of(template), pods)):
        return Choice(RolloutStrategy.REPLACE, RolloutReason.SURGE_UNSCHEDULABLE, words)
    strategy = RolloutStrategy.SURGE if fact.surge else RolloutStrategy.REPLACE
    if before is None or (before.revision, before.strategy) != (fact.revision, strategy):
        return Choice(strategy, RolloutReason.UNRECORDED)
    told_before = (RolloutReason.REQUESTED, RolloutReason.NOT_BEGUN)
    known = {reason.value: reason for reason in RolloutReason if reason not in told_before}
    return Choice(strategy, known.get(before.reason, RolloutReason.UNRECORDED), before.message)


def _unschedulable(revision: str, pods: Sequence[PodFact]) -> str:
    """The scheduler's words for a surge that found no node, empty while it may yet find one.

    A pod that drains leaves its place to one that waits. Once one pod has surged, the next gets that of an old one. But
    of old pods that are not ready a surge removes none before all new ones are.
    """
    new = [pod for pod in pods if pod.revision == revision and not (pod.terminating or pod.ended)]
    # Of a group a part may have found its nodes: that one has surged only a leader that serves tells.
    surged = any(pod.scheduled if pod.group_index is None else pod.ready and not pod.is_worker for pod in new)
    placed = [pod for pod in pods if pod.scheduled and not pod.ended and pod.group_index is None]
    if any(pod.terminating for pod in placed):
        return ""
    if surged and all(pod.revision == revision or pod.ready for pod in placed):
        return ""
    for pod in new:
        if pod.unschedulable:
            return f"Pod `{pod.name}` would have surged: {repeated(pod.unschedulable)}"
    return ""
