"""Canary: a new revision on a share of the calls, beside the old pods, until it is promoted or rolled back.

While a canary is tried, and after it failed, the old pods' Deployment keeps its template. What is decided is written
into the status first and acted upon after that, so that an operator that is restarted in between goes on from there.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from tomoul.api.rollout import CallStatistics, Canary, CanaryStatus, CanaryVerdict, RolloutStatus
from tomoul.plan.failures import failure_of, repeated
from tomoul.plan.judge import shortened
from tomoul.plan.podfact import PodFact
from tomoul.plan.world import CallCounts, CanaryFact, DeploymentFact

MIN_STREAMS = 10
"""Streams that both sides need before their times to first token are compared."""
MIN_REFUSED, DEVIATIONS = 10, 4
"""Refused calls that a canary needs before their share is compared, and by how many standard deviations that has to be
the higher, for it to be no chance."""


class CanaryFacts(NamedTuple):
    """What there is of a pool's canary."""

    deployment: str
    """Name of its Deployment."""
    fact: DeploymentFact | None = None
    pods: Sequence[PodFact] = ()
    counts: CanaryFact | None = None


class Trial(NamedTuple):
    """What a rollout's canary asks for."""

    status: CanaryStatus | None = None
    held: bool = False
    """Whether the old pods' Deployment keeps its template."""
    runs: bool = False
    """Whether there is a canary's Deployment, and calls go there."""


class Judgement(NamedTuple):
    """What the counts say."""

    verdict: CanaryVerdict
    message: str


def plan_trial(
    canary: Canary | None,
    revision: str,
    stable: DeploymentFact | None,
    found: CanaryFacts,
    before: RolloutStatus | None,
) -> Trial:
    """The trial of `revision` beside the Deployment `stable`; `before` is what was said last of the rollout.

    A revision that is to replace one that serves nothing, or that has not taken over itself yet, is not tried: there
    is nothing to compare it with, and going back must be quick.
    """
    known = before.canary if before is not None and before.revision == revision else None
    if stable is not None and stable.revision == revision:
        return Trial(known)
    if stable is None:
        return Trial()
    # Its GPUs are free for the rollout once its pod is gone.
    ends = any(not pod.ended for pod in found.pods)
    if canary is None:
        return Trial(held=ends and stable.ready > 0)
    if known is not None and known.verdict == CanaryVerdict.ROLLED_BACK:
        return Trial(known, held=True)
    if known is not None and known.verdict == CanaryVerdict.PROMOTED:
        return Trial(known, held=ends)
    runs = found.fact is not None and found.fact.revision == revision
    sound = stable.ready > 0 and stable.total <= stable.updated and stable.template
    if known is not None and (stable.replicas == 0 or not (runs or sound)):
        # Nobody is to be served, or was until now. It must not take over by that, nor take the old pods' GPUs.
        waiting = known.model_copy(update={"ready": False, "message": "Waits for pods of the old revision to be ready"})
        return Trial(waiting, held=True)
    if not runs and not sound:
        return Trial()
    counts = found.counts if found.counts is not None and found.counts.revision == revision else None
    judged = _judged(canary, revision, found, counts)
    status = CanaryStatus(
        deployment=found.deployment,
        ready=_ready(revision, found.pods),
        verdict=judged.verdict,
        message=shortened(judged.message),
        canary=_statistics(counts.canary) if counts is not None else CallStatistics(),
        stable=_statistics(counts.stable) if counts is not None else CallStatistics(),
    )
    return Trial(status, held=True, runs=True)


def judge(canary: Canary, fact: CanaryFact) -> Judgement:
    """Whether the counts promote a canary, roll it back, or say too little yet.

    A gateway that cannot be read keeps a canary from being promoted; it is rolled back only by calls that were counted.
    """
    new, old = fact.canary, fact.stable
    if new.calls >= canary.min_calls and _percent(new) - _percent(old) > canary.max_error_percent:
        message = (
            f"{new.errors} of its {new.calls} calls failed ({_percent(new):.1f} %), {_percent(old):.1f} % elsewhere"
        )
        return Judgement(CanaryVerdict.ROLLED_BACK, message)
    if new.calls >= canary.min_calls and _refuses(new, old, canary.max_error_percent):
        shares = f"({_share(new.refused, new):.1f} %), {_share(old.refused, old):.1f} % elsewhere"
        message = f"{new.refused} of its {new.calls} calls were refused {shares}"
        return Judgement(CanaryVerdict.ROLLED_BACK, message)
    waits = [f"gateway `{name}`, which cannot be read" for name in fact.unreadable[:1]]
    if new.calls < canary.min_calls:
        waits.append(f"{canary.min_calls - new.calls} more calls")
    if fact.seconds < canary.duration_seconds:
        waits.append(f"the end of its {canary.duration_seconds} s")
    if waits:
        return Judgement(CanaryVerdict.PENDING, f"Waits for {' and '.join(waits)}")
    if _is_slower(new, old, canary.max_ttft_percent):
        message = f"Its streams' first token takes {_ttft(new):.0f} ms, {_ttft(old):.0f} ms elsewhere"
        return Judgement(CanaryVerdict.ROLLED_BACK, message)
    message = f"{new.errors} of its {new.calls} calls failed ({_percent(new):.1f} %), {_percent(old):.1f} % elsewhere"
    return Judgement(CanaryVerdict.PROMOTED, message)


def _judged(canary: Canary, revision: str, found: CanaryFacts, counts: CanaryFact | None) -> Judgement:
    if counts is not None:
        return judge(canary, counts)
    if _ready(revision, found.pods):
        return Judgement(CanaryVerdict.PENDING, "Waits for the gateways' first counts")
    refused = next((pod.unschedulable for pod in found.pods if not pod.scheduled and pod.unschedulable), "")
    if refused:
        return Judgement(CanaryVerdict.PENDING, f"Waits for room: {repeated(refused)}")
    failure = failure_of(found.pods, ())
    return Judgement(CanaryVerdict.PENDING, failure.message if failure is not None else "Waits for its pod to be ready")


def _ready(revision: str, pods: Sequence[PodFact]) -> bool:
    return any(pod.ready and not pod.terminating and not pod.is_worker and pod.revision == revision for pod in pods)


def _refuses(new: CallCounts, old: CallCounts, percent: int) -> bool:
    """Whether a canary refuses what the old pods take.

    Which call it gets is drawn by lot, so that it has its share of clients' mistakes, and now and then more than that.
    """
    if not old.calls or new.refused < MIN_REFUSED:
        return False
    both = (new.refused + old.refused) / (new.calls + old.calls)
    deviation = 100 * math.sqrt(both * (1 - both) * (1 / new.calls + 1 / old.calls))
    return _share(new.refused, new) - _share(old.refused, old) > max(percent, DEVIATIONS * deviation)


def _is_slower(new: CallCounts, old: CallCounts, percent: int) -> bool:
    """Whether streams' first tokens take longer, and that not only since more of their prompts had to be computed.

    The canary's prompt cache is colder, and stays so: each turn of a conversation is drawn anew.
    """
    if min(new.streams, old.streams) < MIN_STREAMS or _ttft(new) * 100 <= _ttft(old) * percent:
        return False
    if not new.computed_tokens or not old.computed_tokens:
        return True
    of_new, of_old = (each.ttft_milliseconds / each.computed_tokens for each in (new, old))
    return of_new * 100 > of_old * percent


def _percent(counts: CallCounts) -> float:
    return _share(counts.errors, counts)


def _share(some: int, counts: CallCounts) -> float:
    """Of the calls, in percent."""
    return 100 * some / counts.calls if counts.calls else 0.0


def _ttft(counts: CallCounts) -> float:
    """Mean, in milliseconds."""
    return counts.ttft_milliseconds / counts.streams if counts.streams else 0.0


def _statistics(counts: CallCounts) -> CallStatistics:
    return CallStatistics(calls=counts.calls, errors=counts.errors, ttft_milliseconds=round(_ttft(counts)))
