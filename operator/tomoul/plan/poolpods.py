"""Pool pods: the pods that may answer the calls to a pool."""

from collections.abc import Sequence

from tomoul.api.routingtable import PoolName
from tomoul.plan.naming import pool_name
from tomoul.plan.world import Key, PodFact, World

# A canary takes a share of the calls to `default`.
_DEPLOYMENTS: dict[PoolName, tuple[PoolName, ...]] = {"default": ("default", "canary")}


def pods_answering(world: World, model: Key, region: str, pool: PoolName) -> Sequence[PodFact]:
    """All that have not ended, of whatever revision: each is behind a Service until then."""
    keys = [Key(model.namespace, pool_name(model.name, region, name)) for name in _DEPLOYMENTS.get(pool, (pool,))]
    return [pod for key in keys for pod in world.facts.pods.get(key, ()) if not pod.ended]
