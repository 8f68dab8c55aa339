"""Running: which revisions the pods that may answer are of, and what that makes of seeds and fingerprints."""

import hashlib
import json

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import PoolName
from tomoul.plan.cpus import cpu_obstacle
from tomoul.plan.engines.base import Obstacle
from tomoul.plan.naming import pool_name
from tomoul.plan.poolpods import pods_answering, pool_fact
from tomoul.plan.revision import revision_of
from tomoul.plan.seeds import Seeds, planned_seeds, repeats_on_cpus
from tomoul.plan.template import pod_template
from tomoul.plan.world import Key, World


def pool_revisions(world: World, model: ModelDeployment, region: Region, pool: PoolName) -> frozenset[str]:
    """Revisions of the pods that may answer in a pool; without pods that of its Deployment, or of the spec."""
    key, name = Key(model.metadata.namespace, model.metadata.name), region.metadata.name
    found = frozenset(pod.revision for pod in pods_answering(world, key, name, pool))
    if found:
        return found
    fact = pool_fact(world.facts, model.spec, Key(key.namespace, pool_name(key.name, name, pool)))
    revision = fact.revision if fact is not None else ""
    return frozenset({revision or wanted_revision(world, model, region, pool)})


def wanted_revision(world: World, model: ModelDeployment, region: Region, pool: PoolName) -> str:
    """The revision that the spec makes: image, arguments, environment, weights, where it runs and all else of a pod."""
    return revision_of(pod_template(model, region, pool, world.settings))


def pool_fingerprint(world: World, model: ModelDeployment, region: Region, pool: PoolName) -> str:
    """`system_fingerprint` of a pool's answers. While pods of several revisions answer it is neither's."""
    what = [model.spec.model.id, pool, sorted(pool_revisions(world, model, region, pool))]
    return f"fp_{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:10]}"


def seeds_on_nodes(world: World, model: ModelDeployment, region: Region) -> Seeds:
    """What seeds are worth on the region's nodes once all pods are of the spec's revision.

    Only told: a node that comes must not replace the pods that serve.
    """
    planned = planned_seeds(model.spec, region, world.settings)
    if planned.support != "deterministic" or not repeats_on_cpus(model.spec):
        return planned
    obstacle = cpu_obstacle(world.facts.nodes, region)
    return planned if obstacle is None else Seeds("best_effort", obstacle)


def told_seeds(world: World, model: ModelDeployment, region: Region, pools: tuple[PoolName, ...]) -> Seeds:
    """What seeds are worth now: at most best effort while there are pods of other revisions, or nodes of other CPUs."""
    planned = seeds_on_nodes(world, model, region)
    if planned.support != "deterministic":
        return planned
    for pool in pools:
        if pool_revisions(world, model, region, pool) - {wanted_revision(world, model, region, pool)}:
            message = "pods of another revision still answer, so equal seeds may give different answers"
            return Seeds("best_effort", Obstacle(Reason.ROLLOUT_IN_PROGRESS, message))
    return planned
