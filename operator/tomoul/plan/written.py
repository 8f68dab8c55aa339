"""Written: what the RoutingTables of a region say now, as the gateways serve it.

Of an id that two tables hold the entry of the table with the region's name counts, else that of the first by name: so
the gateways' compiler has it too.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from tomoul.api.routingtable import ModelRoute, RoutingTable, RoutingTableSpec
from tomoul.plan.claims import Claims
from tomoul.plan.naming import region_of_table, shard_name, shard_of_table, table_name
from tomoul.plan.shards import shard_names, shard_of
from tomoul.plan.world import World


def tables_of(world: World, region: str) -> Mapping[str, RoutingTable]:
    """All tables of a region by name, the one of its own name first."""
    found = world.facts.tables
    shards = [name for name in found if region_of_table(name) == region and shard_of_table(name) is not None]
    return {name: found[name] for name in (table_name(region), *sorted(shards)) if name in found}


def why_withheld(why: Mapping[str, str], region: str) -> str | None:
    """Why a table of a region is not published, by what is said of tables; None if all are."""
    return next((words for name, words in sorted(why.items()) if region_of_table(name) == region), None)


def not_held(world: World, table: str, what: str) -> str:
    """What to say of a table that does not hold the newest of `what` yet, and why it will not for now."""
    words = f"RoutingTable `{table}` does not hold the {what} yet"
    why = world.facts.withheld.get(table)
    return words if why is None else f"{words}, nor anything else that is new: {why}"


def rests_in_shards(world: World, region: str) -> bool:
    """Whether all models of the region are in shards and none is on its way: each shard can be planned by itself."""
    head = world.facts.tables.get(table_name(region))
    if head is None or head.spec.models:
        return False
    return tables_of(world, region).keys() == {table_name(region), *shard_names(region)}


def written(world: World, region: str, model_id: str, claims: Claims) -> tuple[RoutingTable, ModelRoute] | None:
    """The entry of an id that counts in a region, and the table that it is in; None if there is none."""
    for table in _perhaps(world, region, model_id, claims):
        route = find_route(table.spec, model_id)
        if route is not None:
            return table, route
    return None


def written_route(world: World, region: str, model_id: str, claims: Claims) -> ModelRoute | None:
    """The entry of an id that counts in a region, or None."""
    found = written(world, region, model_id, claims)
    return found[1] if found is not None else None


def find_route(spec: RoutingTableSpec, model_id: str) -> ModelRoute | None:
    """The table's entry for a model. Tables are written in order of ids, so this seldom looks at more than a few."""
    index = bisect_left(spec.models, model_id, key=lambda route: route.id)
    if index < len(spec.models) and spec.models[index].id == model_id:
        return spec.models[index]
    return next((route for route in spec.models if route.id == model_id), None)


def _perhaps(world: World, region: str, model_id: str, claims: Claims) -> Iterator[RoutingTable]:
    """Tables that may hold an id. That of a model is in the shard of that name; of an adapter, which may have been
    another model's until now, and of what a model that cannot be read may have, all may hold it.
    """
    bases = {world.models[key].spec.model.id for key in claims.claimants(model_id)}
    if bases != {model_id} or world.unreadable_models:
        yield from tables_of(world, region).values()
        return
    for name in (table_name(region), shard_name(region, shard_of(model_id))):
        table = world.facts.tables.get(name)
        if table is not None:
            yield table
