"""Takeover: what a route may promise while pods of a former revision still answer, and what these must not be told.

The table's entry as it is now has what holds of the former pods. Until the last of them has ended the entry has what
both revisions have in common, whether the newest one takes over at once or is tried as a canary first.
"""

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import MAX_FORMER_SALTS, MAX_REMOVED, ModelRoute, RouteCapabilities
from tomoul.plan.naming import pool_name
from tomoul.plan.poolpods import pool_fact
from tomoul.plan.running import pool_revisions, wanted_revision
from tomoul.plan.seeds import weaker
from tomoul.plan.workload import pools
from tomoul.plan.world import Key, World


def common_route(
    world: World, model: ModelDeployment, region: Region, route: ModelRoute, last: ModelRoute
) -> ModelRoute:
    """`route`, or what it has in common with `last`, the table's entry now, while pods of two revisions may answer.

    By the pods and their Deployments, not by the status: the table must not promise more in the moment before that
    says so.
    """
    common = _common(route, last)
    # To make a pod template takes longer than all else here, and most changes leave nothing to be careful about.
    return route if common == route or _renewed(world, model, region) else common


def _common(route: ModelRoute, last: ModelRoute) -> ModelRoute:
    new, old = route.capabilities, last.capabilities
    # What the pods that have a cache keep calls apart by, also where the others have none, or go by another field.
    known = (route.cache.salt_field, last.cache.salt_field, *(last.cache.former_salt_fields or ()))
    salt, *former = dict.fromkeys(name for name in known if name is not None) or (None,)
    removed = tuple(dict.fromkeys((*route.remove_fields, *last.remove_fields)))[:MAX_REMOVED]
    return route.model_copy(
        update={
            "capabilities": RouteCapabilities(
                tools=new.tools and old.tools,
                structured_output=new.structured_output and old.structured_output,
                json_mode=new.json_mode and old.json_mode,
                seed=weaker(new.seed, old.seed),
            ),
            # What either engine must not be told.
            "remove_fields": removed,
            "usage_option": route.usage_option if route.usage_option == last.usage_option else None,
            "counts_one_choice": route.counts_one_choice or last.counts_one_choice,
            "reuse_connections": route.reuse_connections and last.reuse_connections,
            "seeds": min((count for count in (route.seeds, last.seeds) if count is not None), default=None),
            "random_seed": route.random_seed or last.random_seed,
            "cache": route.cache.model_copy(
                update={"salt_field": salt, "former_salt_fields": tuple(former[:MAX_FORMER_SALTS]) or None}
            ),
        }
    )


def _renewed(world: World, model: ModelDeployment, region: Region) -> bool:
    """Whether all pods that may answer are of the newest revision, and so are all that Kubernetes would make."""
    for pool in pools(model.spec):
        wanted = wanted_revision(world, model, region, pool)
        key = Key(model.metadata.namespace, pool_name(model.metadata.name, region.metadata.name, pool))
        fact = pool_fact(world.facts, model.spec, key)
        if pool_revisions(world, model, region, pool) != {wanted} or (fact is not None and fact.revision != wanted):
            return False
    return True
