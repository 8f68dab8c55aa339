"""Rollout: how a ModelDeployment's newest revision takes over in a region, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentStatus
from tomoul.api.region import Region
from tomoul.api.rollout import RolloutPhase, RolloutStatus
from tomoul.api.routingtable import PoolName
from tomoul.plan.naming import pool_name
from tomoul.plan.pods import engine_pod
from tomoul.plan.revision import revision_of, stamped
from tomoul.plan.strategy import Choice, choose, rolling
from tomoul.plan.world import DeploymentFact, Key, Manifest, World


@dataclass(frozen=True)
class PoolRollout:
    """What a pool's Deployment should be."""

    template: Manifest
    choice: Choice


@dataclass(frozen=True)
class RegionRollout:
    """The rollout of a ModelDeployment in a region."""

    pools: Mapping[PoolName, PoolRollout]
    status: RolloutStatus = field(default_factory=RolloutStatus)


def region_rollout(
    world: World, model: ModelDeployment, region: Region, names: tuple[PoolName, ...], said: ModelDeploymentStatus
) -> RegionRollout:
    """How the pools `names` of a model get its newest revision; `said` is what was told of it last."""
    before = next((row.rollout for row in said.regions if row.name == region.metadata.name), None)
    templates = {pool: stamped(engine_pod(model, region, pool, world.settings)) for pool in names}
    keys = {
        pool: Key(model.metadata.namespace, pool_name(model.metadata.name, region.metadata.name, pool))
        for pool in names
    }
    known = {pool: world.facts.deployments.get(key) for pool, key in keys.items()}
    behind = sum(fact is not None and fact.revision != revision_of(templates[pool]) for pool, fact in known.items())
    pools = {
        pool: PoolRollout(
            template,
            choose(
                model.spec.rollout.strategy,
                template,
                known[pool],
                world.facts.pods.get(keys[pool], ()),
                world.facts,
                at_once=max(behind, 1),
                before=before,
            ),
        )
        for pool, template in templates.items()
    }
    fact, main = known["default"], pools["default"]
    status = RolloutStatus(
        revision=revision_of(main.template),
        phase=_phase(fact, revision_of(main.template)),
        strategy=main.choice.strategy,
        reason=main.choice.reason,
        message=main.choice.message,
        updated=_updated(fact, revision_of(main.template)),
    )
    return RegionRollout(pools, status)


def _updated(fact: DeploymentFact | None, revision: str) -> int:
    current = fact is not None and fact.revision == revision and fact.observed_generation >= fact.generation
    return fact.updated if fact is not None and current else 0


def _phase(fact: DeploymentFact | None, revision: str) -> RolloutPhase:
    if fact is None or fact.revision != revision:
        return RolloutPhase.PROGRESSING
    if fact.overdue:
        return RolloutPhase.STALLED
    complete = not rolling(fact) and fact.updated == fact.replicas <= fact.ready
    return RolloutPhase.COMPLETE if complete else RolloutPhase.PROGRESSING
