"""Handover: names that go from a model to another whose entry is in another shard, and are always in one of the two.

In one table the alias would change hands in one write. Of two tables the one that loses it waits until the other has it
as written, by whichever worker: a gateway's watch tells of writes in their order, so that it has seen the alias come
before it sees it go. For that moment both have it, which the filter takes for the first's by id. The entry of a model
that is gone waits likewise for who has its id or an alias as an alias next.
"""

from tomoul.api.routingtable import MAX_ALIASES, ModelRoute
from tomoul.plan.claims import Claims
from tomoul.plan.routing import model_route
from tomoul.plan.shards import shard_of
from tomoul.plan.world import World
from tomoul.plan.written import written_route


def with_aliases_on_their_way(world: World, region: str, route: ModelRoute, claims: Claims) -> ModelRoute:
    """`route`, an entry as it should be, and those of its present aliases that another shard is about to have."""
    last = written_route(world, region, route.id, claims)
    gone = [alias for alias in last.aliases if alias not in route.aliases] if last is not None else []
    kept = [alias for alias in gone if _on_its_way(world, region, alias, route, claims)]
    if not kept:
        return route
    return route.model_copy(update={"aliases": (*route.aliases, *kept)[:MAX_ALIASES]})


def is_waited_for(world: World, region: str, route: ModelRoute, claims: Claims) -> bool:
    """Whether an entry that is to go has a name that another shard is about to have."""
    return any(_on_its_way(world, region, name, route, claims) for name in (route.id, *route.aliases))


def _on_its_way(world: World, region: str, alias: str, route: ModelRoute, claims: Claims) -> bool:
    """Whether a name that leaves `route` belongs to an entry of another shard, which does not have it yet."""
    holder = claims.holder(region, alias)
    if holder is None:
        return False
    heir = model_route(world, alias if holder.is_id else world.models[holder.key].spec.model.id, region, claims)
    if heir is None or shard_of(heir.base_id) == shard_of(route.base_id) or alias not in (heir.id, *heir.aliases):
        return False
    now = written_route(world, region, heir.id, claims)
    return now is None or alias not in (now.id, *now.aliases)
