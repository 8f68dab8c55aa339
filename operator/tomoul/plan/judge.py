"""Judgements: conditions without their times, and how those of one pool of pods are found."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.plan.failures import failure_of, repeated
from tomoul.plan.podfact import PodFact
from tomoul.plan.world import DeploymentFact

# What the scheduler adds of pods that it could push aside for one of a higher priority, which ours do not have.
_PREEMPTION = re.compile(r"\.?\s*(no new claims to deallocate, )?preemption: .*", re.DOTALL)
MAX_MESSAGE = 1024
"""Longest message that a plan writes, in characters: a status of 16 regions stays small."""


class Verdict(NamedTuple):
    """What one condition says."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str = ""


SCALED_TO_ZERO = Verdict(
    "False", Reason.SCALED_TO_ZERO, "No replicas are wanted, so no call can be answered: raise `replicas`"
)


class Rollout(NamedTuple):
    """One Deployment or LeaderWorkerSet, the replicas wanted of it, and its pods."""

    name: str
    wanted: int
    fact: DeploymentFact | None
    pods: Sequence[PodFact]
    size: int = 1
    """Pods of one replica."""
    former_ready: int = 0
    """Replicas that are ready of the other kind, which this one takes over from."""
    former: Sequence[PodFact] = ()
    """Pods of that."""

    @property
    def ready(self) -> int:
        """Replicas that are ready, of whatever revision."""
        return self.former_ready + (self.fact.ready if self.fact is not None else 0)

    @property
    def updated(self) -> int:
        """Replicas of the newest revision; none while Kubernetes has not looked at it yet."""
        if self.fact is None or self.fact.observed_generation < self.fact.generation:
            return 0
        return self.fact.updated

    @property
    def rolling(self) -> bool:
        """Whether there are replicas of a former revision or kind: they may be the ones that are ready."""
        fact = self.fact
        return self.former_ready > 0 or (fact is not None and fact.total > fact.updated)

    @property
    def renewed(self) -> int:
        """Replicas that are ready and of the newest revision, as far as that can be told."""
        if not self.rolling:
            return min(self.ready, self.updated)
        if self.fact is None:
            return 0
        if not self.fact.revision:  # a gateway's pods have no such label: those that cannot be former ones
            return min(max(self.ready - (self.fact.total - self.fact.updated), 0), self.updated)
        own = (pod for pod in self.pods if pod.ready and not pod.terminating and not pod.is_worker)
        return min(sum(pod.revision == self.fact.revision for pod in own), self.updated, self.ready)

    @property
    def living(self) -> list[PodFact]:
        """Pods that are not on their way out."""
        return [pod for pod in self.pods if not pod.terminating and not pod.ended]

    @property
    def placed(self) -> int:
        """Pods that have a node. Those of a group are made anew only once the former ones have left theirs."""
        held = (pod for pod in self.pods if not pod.ended and (not pod.terminating or pod.group_index is not None))
        return sum(pod.scheduled for pod in held)

    @property
    def serving(self) -> list[PodFact]:
        """Pods that take calls or are to take them."""
        found = (*self.pods, *self.former)
        return [pod for pod in found if not pod.terminating and not pod.ended and not pod.is_worker]


def condition(kind: ConditionType, verdict: Verdict, generation: int) -> Condition:
    """A condition without its transition time, which `merge_conditions` sets."""
    return Condition(
        type=kind,
        status=verdict.status,
        reason=verdict.reason,
        message=shortened(verdict.message),
        observed_generation=generation,
    )


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def scheduled(rollouts: Sequence[Rollout]) -> Verdict:
    """Whether all wanted pods have a node."""
    for pod in (pod for rollout in rollouts for pod in rollout.living):
        if not pod.scheduled and pod.unschedulable:
            words = repeated(_PREEMPTION.sub("", pod.unschedulable))
            return Verdict("False", Reason.UNSCHEDULABLE, f"Pod `{pod.name}`: {words}")
    waiting = [
        f"{wanted - placed} of {wanted} pods of `{rollout.name}`"
        for rollout in rollouts
        if (placed := rollout.placed) < (wanted := rollout.wanted * rollout.size)
    ]
    if waiting:
        refused = _not_made(rollouts)
        words = "; ".join([f"{' and '.join(waiting)} have no node yet", *refused, *_gated(rollouts)])
        return Verdict("False", Reason.PODS_REFUSED if refused else Reason.WAITING_FOR_PODS, words)
    return Verdict("True", Reason.ALL_PODS_SCHEDULED)


def running(rollouts: Sequence[Rollout], lost_nodes: Collection[str] = ()) -> Verdict:
    """Whether all wanted pods are ready and of the newest revision.

    Failures of a new revision show, even while the old one serves.
    """
    counts = _counts(rollouts)
    failed = failing(rollouts, lost_nodes)
    if failed is not None:
        return failed._replace(message=f"{failed.message}; {counts}")
    if all(rollout.wanted == 0 for rollout in rollouts):
        return SCALED_TO_ZERO
    short = any(rollout.fact is None or rollout.ready < rollout.wanted for rollout in rollouts)
    if not short and not any(rollout.updated < rollout.wanted or rollout.rolling for rollout in rollouts):
        return Verdict("True", Reason.ALL_REPLICAS_READY, counts)
    refused = _not_made(rollouts)
    told = "; ".join([counts, *_paused(rollouts), *refused, *starting(rollouts)])
    # To wait for pods that nobody makes does not help.
    reason = Reason.PODS_REFUSED if refused else _shortage(rollouts) if short else Reason.ROLLOUT_IN_PROGRESS
    return Verdict("False", reason, told)


def failing(rollouts: Sequence[Rollout], lost_nodes: Collection[str]) -> Verdict | None:
    """What keeps the first pod that fails from serving, or None."""
    found = (failure_of(rollout.pods, lost_nodes) for rollout in rollouts)
    failure = next((each for each in found if each is not None), None)
    return Verdict("False", failure.reason, failure.message) if failure is not None else None


def stalled(rollouts: Sequence[Rollout], verdict: Verdict) -> Verdict:
    """`verdict` on the running pods, or that a rollout's deadline has passed, with the verdict's words."""
    late = [rollout for rollout in rollouts if rollout.fact is not None and rollout.fact.overdue]
    if verdict.status == "True" or not late:
        return verdict
    words = f"The rollout of `{late[0].name}` made no progress within its deadline: {verdict.message}"
    return Verdict("False", Reason.ROLLOUT_DEADLINE_EXCEEDED, words)


def late_to_answer(rollouts: Sequence[Rollout], verdict: Verdict) -> Verdict:
    """`verdict` on the engines; one that has loaded for longer than a rollout's deadline does not only load."""
    return stalled(rollouts, verdict) if verdict.reason is Reason.MODEL_LOADING else verdict


def starting(rollouts: Iterable[Rollout]) -> list[str]:
    """What the first pod of each does that has a node and has not answered yet, in words that no clock changes."""
    waiting = (next((pod for pod in each.living if pod.scheduled and not pod.answered), None) for each in rollouts)
    return [_doing(pod) for pod in waiting if pod is not None]


def _not_made(rollouts: Iterable[Rollout]) -> list[str]:
    """Which pods the API server refuses, such as for a quota or by an admission policy."""
    facts = [(each.name, each.fact.refused) for each in rollouts if each.fact is not None and each.fact.refused]
    return [f"pods of `{name}` are not made: {repeated(words)}" for name, words in facts]


def _paused(rollouts: Iterable[Rollout]) -> list[str]:
    """Which rollouts somebody has stopped."""
    names = [each.name for each in rollouts if each.fact is not None and each.fact.paused]
    return [f"Deployment `{name}` is paused: `kubectl rollout resume` lets it go on" for name in names]


def _gated(rollouts: Iterable[Rollout]) -> list[str]:
    """Which pods the scheduler does not look at, and for whom it waits: the first of each rollout."""
    held = (next((pod for pod in each.living if pod.gates and not pod.scheduled), None) for each in rollouts)
    return [
        f"pod `{pod.name}` waits for whoever is to remove its scheduling gate `{pod.gates[0]}`"
        for pod in held
        if pod is not None
    ]


def _doing(pod: PodFact) -> str:
    runs = [each for each in pod.containers if each.running_since is not None]
    container = next((each for each in runs if not each.started or (each.init and pod.loading)), None)
    if container is None or container.running_since is None:
        return f"pod `{pod.name}` waits for its volumes and images"
    since = container.running_since.strftime("%Y-%m-%dT%H:%M:%SZ")
    if pod.loading:
        return f"pod `{pod.name}` brings its weights since {since}"
    return f"pod `{pod.name}` runs `{container.name}` since {since}, which has not answered yet"


def first_unmet(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The first verdict that is not True, or None."""
    return next((verdict for verdict in verdicts if verdict.status != "True"), None)


def _shortage(rollouts: Sequence[Rollout]) -> Reason:
    # The pool for `no-store` answers no other calls: it is the first that counts of those that are to have replicas.
    first = next((rollout for rollout in rollouts if rollout.wanted), rollouts[0])
    return Reason.SOME_REPLICAS_READY if first.ready else Reason.NO_REPLICA_READY


def _counts(rollouts: Sequence[Rollout]) -> str:
    found = []
    for rollout in rollouts:
        text = f"{rollout.ready} of {rollout.wanted} replicas of `{rollout.name}` are ready"
        if rollout.ready and (rollout.updated < rollout.wanted or rollout.rolling):
            text += f" ({rollout.renewed} of the newest revision)"
        found.append(text)
    return ", ".join(found)
