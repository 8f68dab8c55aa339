"""Rollout: how a ModelDeployment's newest revision takes over in a region, and how far it has come."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tomoul.api.conditions import Reason
from tomoul.api.meta import LABEL_POOL
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import Region
from tomoul.api.rollout import CanaryVerdict, RolloutPhase, RolloutReason, RolloutStatus, RolloutStrategy
from tomoul.api.routingtable import PoolName
from tomoul.plan.canary import CanaryFacts, Trial, plan_trial
from tomoul.plan.failures import Failure, failure_of
from tomoul.plan.judge import Verdict, shortened
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.poolpods import pool_fact
from tomoul.plan.revision import labelled, revision_of, with_loaders_of
from tomoul.plan.strategy import Choice, choose, rolling, surplus
from tomoul.plan.template import pod_template
from tomoul.plan.world import DeploymentFact, Key, Manifest, World

CANARY: PoolName = "canary"
Awaits = Callable[[Manifest, DeploymentFact], str]
"""What the template of a pool's next revision waits for, given what there is of it, in words; empty if it need not."""
_NOT_BEGUN = "Chosen once the revision takes over; this is how the old pods came"


@dataclass(frozen=True)
class PoolRollout:
    """What a pool's Deployment or LeaderWorkerSet should be."""

    template: Manifest
    choice: Choice


@dataclass(frozen=True)
class RegionRollout:
    """The rollout of a ModelDeployment in a region."""

    pools: Mapping[PoolName, PoolRollout]
    status: RolloutStatus = field(default_factory=RolloutStatus)
    canary: Manifest | None = None
    """The template of the canary's pods, while there should be one."""
    overdue: bool = False
    """Whether a canary has not come to a verdict within the deadline."""
    failure: Failure | None = None
    """Why the canary's pod does not serve."""
    awaits: str = ""
    """What the newest revision waits for while the old pods' Deployment keeps its template, besides a canary."""


def region_rollout(
    world: World,
    model: ModelDeployment,
    region: Region,
    names: tuple[PoolName, ...],
    said: ModelDeploymentStatus,
    awaits: Awaits,
) -> RegionRollout:
    """How the pools `names` of a model get its newest revision; `said` is what was told of it last."""
    facts = world.facts
    before = next((row.rollout for row in said.regions if row.name == region.metadata.name), None)
    keys = {pool: _key(model, region, pool) for pool in names}
    known = {pool: pool_fact(facts, model.spec, key) for pool, key in keys.items()}
    templates = {
        pool: _with_known_loaders(
            pod_template(model, region, pool, world.settings), known[pool], facts.pods.get(keys[pool], ())
        )
        for pool in names
    }
    behind = sum(fact is not None and fact.revision != revision_of(templates[pool]) for pool, fact in known.items())
    leaving = [
        pod for pool, fact in known.items() if fact is not None for pod in surplus(fact, facts.pods.get(keys[pool], ()))
    ]
    revision, stable = revision_of(templates["default"]), known["default"]
    found = _canary_facts(world, model, region)
    trial = plan_trial(model.spec.rollout.canary, revision, stable, found, before)
    pools: dict[PoolName, PoolRollout] = {}
    waits = ""
    for pool, template in templates.items():
        fact = known[pool]
        if fact is not None and fact.template and fact.revision != revision_of(template):
            why = "" if trial.held else awaits(template, fact)
            if trial.held or why:
                waits = waits or why
                strategy = RolloutStrategy.SURGE if fact.surge else RolloutStrategy.REPLACE
                choice = Choice(strategy, RolloutReason.NOT_BEGUN, _NOT_BEGUN)
                pools[pool] = PoolRollout(json.loads(fact.template), choice)
                continue
        choice = choose(
            model.spec.rollout.strategy,
            template,
            fact,
            facts.pods.get(keys[pool], ()),
            facts,
            at_once=max(behind, 1),
            leaving=leaving,
            before=before,
        )
        pools[pool] = PoolRollout(template, choice)
    choice = pools["default"].choice
    status = RolloutStatus(
        revision=revision,
        serving_revision=stable.revision if trial.held and stable is not None else "",
        phase=_phase(stable, revision, trial),
        strategy=choice.strategy,
        reason=choice.reason,
        message=shortened(choice.message),
        updated=_updated(stable, revision),
        canary=trial.status,
    )
    tried = _as_canary(templates["default"]) if trial.runs else None
    failure = failure_of(found.pods, ()) if trial.runs else None
    return RegionRollout(pools, status, tried, trial.runs and _overdue(model, found), failure, waits)


def on_trial(rollout: RegionRollout, verdict: Verdict) -> Verdict:
    """`verdict` on the old pods, or what there is to say of the new revision where they are all well."""
    told, trial = rollout.status, rollout.status.canary
    if verdict.status != "True" or not (told.serving_revision or rollout.awaits):
        return verdict
    name = f"Revision `{told.revision}`"
    if rollout.awaits:
        return Verdict("False", Reason.ROLLOUT_IN_PROGRESS, f"{name} waits: {rollout.awaits}")
    if trial is None:
        return Verdict("False", Reason.ROLLOUT_IN_PROGRESS, f"{name} takes over once the pod of a canary has ended")
    if told.phase == RolloutPhase.ROLLED_BACK:
        words = f"{name} was rolled back, and `{told.serving_revision}` goes on serving: {trial.message}"
        return Verdict("False", Reason.CANARY_ROLLED_BACK, words)
    if trial.verdict == CanaryVerdict.PROMOTED:
        return Verdict("False", Reason.ROLLOUT_IN_PROGRESS, f"{name} was promoted, and its canary ends")
    words = f"{name} is tried as a canary: {trial.message}"
    failure = rollout.failure
    if failure is not None and failure.message not in words:
        words = f"{words}; {failure.message}"
    if rollout.overdue:
        return Verdict("False", Reason.ROLLOUT_DEADLINE_EXCEEDED, words)
    # As of each rollout, a failure of the new revision shows while the old one serves.
    return Verdict("False", failure.reason if failure is not None else Reason.ROLLOUT_IN_PROGRESS, words)


def _key(model: ModelDeployment, region: Region, pool: PoolName) -> Key:
    return Key(model.metadata.namespace, pool_name(model.metadata.name, region.metadata.name, pool))


def _with_known_loaders(template: Manifest, fact: DeploymentFact | None, pods: Sequence[PodFact]) -> Manifest:
    """A template whose loaders stay as they are once an engine has begun with what they brought.

    Their image is that of the operator, whose upgrade would else replace every engine whose weights are downloaded.
    """
    if fact is None or not fact.template or fact.revision != revision_of(template):
        return template
    return with_loaders_of(template, json.loads(fact.template)) if any(pod.begun for pod in pods) else template


def _canary_facts(world: World, model: ModelDeployment, region: Region) -> CanaryFacts:
    key, facts = _key(model, region, CANARY), world.facts
    found = pool_fact(facts, model.spec, key)
    return CanaryFacts(key.name, found, facts.pods.get(key, ()), facts.canaries.get(key))


def _as_canary(template: Manifest) -> Manifest:
    """The template of the pool `default`, revision included, for pods of the canary's own Service."""
    return labelled(template, {LABEL_POOL: CANARY})


def _overdue(model: ModelDeployment, found: CanaryFacts) -> bool:
    rollout = model.spec.rollout
    # One that is to be watched for longer can have no verdict before that.
    limit = max(rollout.deadline_seconds, rollout.canary.duration_seconds if rollout.canary is not None else 0)
    late = found.counts is not None and found.counts.seconds > limit
    return late or (found.fact is not None and found.fact.overdue)


def _updated(fact: DeploymentFact | None, revision: str) -> int:
    current = fact is not None and fact.revision == revision and fact.observed_generation >= fact.generation
    return fact.updated if fact is not None and current else 0


def _phase(fact: DeploymentFact | None, revision: str, trial: Trial) -> RolloutPhase:
    if trial.runs:
        return RolloutPhase.CANARY
    if fact is None or fact.revision != revision:
        failed = trial.status is not None and trial.status.verdict == CanaryVerdict.ROLLED_BACK
        return RolloutPhase.ROLLED_BACK if failed else RolloutPhase.PROGRESSING
    if fact.overdue:
        return RolloutPhase.STALLED
    complete = not rolling(fact) and fact.updated == fact.replicas <= fact.ready
    return RolloutPhase.COMPLETE if complete else RolloutPhase.PROGRESSING
