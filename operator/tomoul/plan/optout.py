"""Opt-out: the pool for `no-store` calls that the spec does not want any more, and that is needed all the same.

Where it leaves the pool out because no pod is to have a cache, that comes true pod by pod, and never where a canary
fails. Until then the other pods cannot take `no-store` calls, so they go where they went before. It goes once no
gateway sends it calls.
"""

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import RegionModelStatus
from tomoul.plan.naming import group_set_name, pool_name
from tomoul.plan.poolpods import former_fact, pool_fact
from tomoul.plan.promptcache import is_uncached, unkept, wanted_cache
from tomoul.plan.revision import pods_of_replica, revision_of, serving_pod
from tomoul.plan.room import room_for
from tomoul.plan.template import pod_template
from tomoul.plan.workload import pools
from tomoul.plan.world import DeploymentFact, Key, World

_BEHIND = frozenset({Reason.WAITING_FOR_TABLE, Reason.WAITING_FOR_GATEWAYS, Reason.REJECTED_BY_GATEWAY})
"""Reasons of `RoutesProgrammed` while gateways may still go by an older route."""


def takes_no_store(world: World, model: ModelDeployment, region: str) -> bool:
    """Whether a pool that the spec does not want takes `no-store` calls, while pods are there that cannot."""
    if "no-store" in pools(model.spec):
        return False
    key = Key(model.metadata.namespace, model.metadata.name)
    fact = _found(world, model, region)
    if fact is None or not fact.replicas or not unkept(world, key, region, wanted_cache(model)):
        return False
    return is_uncached(world, key, region, "no-store") and not _is_waited_for(world, model, region)


def unwanted_pool(world: World, model: ModelDeployment, row: RegionModelStatus) -> frozenset[tuple[str, str]]:
    """Kind and name of what an unwanted pool for `no-store` is made of, while a gateway may send it calls.

    `row` is what is said of the model in the region.
    """
    if "no-store" in pools(model.spec) or _found(world, model, row.name) is None:
        return frozenset()
    behind = any(each.type == ConditionType.ROUTES_PROGRAMMED and each.reason in _BEHIND for each in row.conditions)
    if not behind and not takes_no_store(world, model, row.name):
        return frozenset()
    name, region = model.metadata.name, row.name
    service, groups = pool_name(name, region, "no-store"), group_set_name(name, region, "no-store")
    kinds = {"Deployment": service, "LeaderWorkerSet": groups, "Service": service, "PodDisruptionBudget": service}
    return frozenset(kinds.items())


def _found(world: World, model: ModelDeployment, region: str) -> DeploymentFact | None:
    pool = Key(model.metadata.namespace, pool_name(model.metadata.name, region, "no-store"))
    return pool_fact(world.facts, model.spec, pool) or former_fact(world.facts, model.spec, pool)


def _is_waited_for(world: World, model: ModelDeployment, region: str) -> bool:
    """Whether the rollout of the other pool needs the place of this one to go on at all."""
    template = pod_template(model, world.regions[region], "default", world.settings)
    key = Key(model.metadata.namespace, pool_name(model.metadata.name, region, "default"))
    pods = [pod for pod in world.facts.pods.get(key, ()) if not pod.ended]
    waiting = [pod for pod in pods if pod.unschedulable and not pod.scheduled and not pod.terminating]
    if all(pod.revision != revision_of(template) for pod in waiting):
        return False
    # What ends leaves its place to one that waits, and one that has a place is about to get it.
    if any(pod.terminating and pod.scheduled for pod in pods):
        return False
    return not room_for(world.facts, serving_pod(template), pods_of_replica(template)).fits
