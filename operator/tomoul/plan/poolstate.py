"""Pool state: what there is of a model's pools in a region, as its conditions are judged by."""

from collections.abc import Mapping, Sequence

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.rollout import RolloutStrategy
from tomoul.api.routingtable import PoolName
from tomoul.plan.judge import Rollout
from tomoul.plan.multinode import is_multinode
from tomoul.plan.naming import group_set_name, pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.poolpods import former_fact, pool_fact
from tomoul.plan.rollout import CANARY
from tomoul.plan.workload import POOLS, pools, wanted_replicas
from tomoul.plan.world import Key, World


def wanted_rollouts(world: World, model: ModelDeployment, region: str) -> dict[PoolName, Rollout]:
    """The rollouts of the pools that the spec wants."""
    found: dict[PoolName, Rollout] = {}
    for pool in pools(model.spec):
        key = _key(model, region, pool)
        fact = pool_fact(world.facts, model.spec, key)
        former = former_fact(world.facts, model.spec, key)
        asked = wanted_replicas(model.spec, region, pool)
        # An autoscaler decides where the spec does not; what has neither has Kubernetes' default of one.
        wanted = asked if asked is not None else fact.replicas if fact is not None else 1
        pods = world.facts.pods.get(key, ())
        found[pool] = Rollout(
            key.name,
            wanted,
            fact,
            _of_kind(pods, groups=is_multinode(model.spec)),
            size=model.spec.resources.nodes,
            former_ready=former.ready if former is not None else 0,
            former=_of_kind(pods, groups=not is_multinode(model.spec)),
        )
    return found


def existing_rollouts(world: World, model: ModelDeployment, region: str) -> dict[PoolName, Rollout]:
    """The rollouts of the pools that there are, as they are."""
    found: dict[PoolName, Rollout] = {}
    for pool in POOLS:
        key = _key(model, region, pool)
        # What is refused may be the very change from one kind to the other.
        fact = pool_fact(world.facts, model.spec, key) or former_fact(world.facts, model.spec, key)
        if fact is not None:
            pods = world.facts.pods.get(key, ())
            found[pool] = Rollout(key.name, fact.replicas, fact, pods, size=fact.size)
    return found


def has_groups(world: World, model: ModelDeployment, region: str) -> bool:
    """Whether replicas of the model are groups of pods, or some are that serve until others do, or end their calls."""
    keys = [_key(model, region, pool) for pool in (*POOLS, CANARY)]
    pods = (pod for key in keys for pod in world.facts.pods.get(key, ()))
    return (
        is_multinode(model.spec)
        or any(key in world.facts.group_sets for key in keys)
        or any(pod.group_index is not None and not pod.ended for pod in pods)
    )


def still_serving(
    model: ModelDeployment, region: str, rollouts: Mapping[PoolName, Rollout]
) -> frozenset[tuple[str, str]]:
    """Kind and name of what serves in the place of what is to take over from it, and so must stay.

    Between single pods and groups of pods there is no rollout: the new ones are made beside the old ones, which go once
    as many replicas are ready. `Replace` lets the old ones go at once, for the new ones to have their GPUs.
    """
    if model.spec.rollout.strategy is RolloutStrategy.REPLACE:
        return frozenset()
    kind, named = ("Deployment", pool_name) if is_multinode(model.spec) else ("LeaderWorkerSet", group_set_name)
    kept = set()
    for pool, rollout in rollouts.items():
        made = rollout.ready - rollout.former_ready
        if rollout.former_ready and (rollout.fact is None or made < rollout.wanted):
            kept.add((kind, named(model.metadata.name, region, pool)))
    return frozenset(kept)


def _of_kind(pods: Sequence[PodFact], *, groups: bool) -> list[PodFact]:
    return [pod for pod in pods if (pod.group_index is not None) == groups]


def _key(model: ModelDeployment, region: str, pool: PoolName) -> Key:
    return Key(model.metadata.namespace, pool_name(model.metadata.name, region, pool))
