"""Pool pods: the pods that may answer the calls to a pool, and what keeps them."""

from collections.abc import Sequence

from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName
from tomoul.plan.multinode import is_multinode
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.world import DeploymentFact, Facts, Key, World

# A canary takes a share of the calls to `default`.
_DEPLOYMENTS: dict[PoolName, tuple[PoolName, ...]] = {"default": ("default", "canary")}


def pods_answering(world: World, model: Key, region: str, pool: PoolName) -> Sequence[PodFact]:
    """All that have not ended, of whatever revision: each is behind a Service until then."""
    keys = [Key(model.namespace, pool_name(model.name, region, name)) for name in _DEPLOYMENTS.get(pool, (pool,))]
    return [pod for key in keys for pod in world.facts.pods.get(key, ()) if not pod.ended]


def pool_fact(facts: Facts, spec: ModelDeploymentSpec, pool: Key) -> DeploymentFact | None:
    """The Deployment of a pool, or the LeaderWorkerSet, as the spec wants one or the other."""
    return (facts.group_sets if is_multinode(spec) else facts.deployments).get(pool)


def former_fact(facts: Facts, spec: ModelDeploymentSpec, pool: Key) -> DeploymentFact | None:
    """What of the other kind is still there, because the spec wanted it before."""
    return (facts.deployments if is_multinode(spec) else facts.group_sets).get(pool)
