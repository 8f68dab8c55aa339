"""Takeover: what a route may promise while pods of the revision before a canary's still take most of its calls."""

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import ModelRoute, RouteCapabilities
from tomoul.plan.naming import pool_name
from tomoul.plan.poolpods import pool_fact
from tomoul.plan.running import wanted_revision
from tomoul.plan.seeds import weaker
from tomoul.plan.world import Key, World


def common_route(world: World, model: ModelDeployment, region: str, route: ModelRoute, last: ModelRoute) -> ModelRoute:
    """`route`, or what it has in common with `last`, the table's entry now, until a revision that is tried takes over.

    By the Deployment, not by the status: the table must not promise more in the moment before that says so.
    """
    if model.spec.rollout.canary is None:
        return route
    key = Key(model.metadata.namespace, pool_name(model.metadata.name, region, "default"))
    fact = pool_fact(world.facts, model.spec, key)
    if fact is None or fact.revision == wanted_revision(world, model, world.regions[region], "default"):
        return route
    new, old = route.capabilities, last.capabilities
    return route.model_copy(
        update={
            "capabilities": RouteCapabilities(
                tools=new.tools and old.tools,
                structured_output=new.structured_output and old.structured_output,
                json_mode=new.json_mode and old.json_mode,
                seed=weaker(new.seed, old.seed),
            ),
            # What either engine must not be told.
            "remove_fields": tuple(sorted({*route.remove_fields, *last.remove_fields})),
            "usage_option": route.usage_option if route.usage_option == last.usage_option else None,
            "counts_one_choice": route.counts_one_choice or last.counts_one_choice,
            "reuse_connections": route.reuse_connections and last.reuse_connections,
            "seeds": min((count for count in (route.seeds, last.seeds) if count is not None), default=None),
            "random_seed": route.random_seed or last.random_seed,
        }
    )
