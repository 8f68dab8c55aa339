"""Tables: the RoutingTables of a region, and how routes go from one to another without ever being in none.

The table with the region's name tells of the region itself: other regions, tenants, whether it drains. While they are
few it holds all routes too; else each is in the shard of its model. Where a route belongs can so change, and it stays
where it is, as up to date as there, until the table where it belongs has the same entry and every live gateway has
accepted that. All of this follows from the tables that there are, so that it goes on after an end at any point.

A shard that is not used any more is emptied, and deleted once every gateway knows it to be empty: one that did not
would serve the last that it knew of it for ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tomoul.api.meta import API_VERSION, LABEL_SHARD
from tomoul.api.region import Region, RegionState
from tomoul.api.routingtable import GatewayService, ModelRoute, RoutingTable, RoutingTableSpec
from tomoul.plan.claims import Claims
from tomoul.plan.claims import claims as all_claims
from tomoul.plan.gateways import gateway_pods, gateways_behind
from tomoul.plan.handover import is_waited_for, with_aliases_on_their_way
from tomoul.plan.labels import gateway_labels, object_meta
from tomoul.plan.naming import gateway_name, shard_name, shard_of_table, table_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.remotes import remote_gateways
from tomoul.plan.routing import active_here, model_route
from tomoul.plan.shards import in_shards, shard_names, shard_of
from tomoul.plan.tenants import tenant_entries
from tomoul.plan.world import Key, Manifest, World
from tomoul.plan.written import find_route, rests_in_shards, tables_of


@dataclass(frozen=True)
class TablesPlan:
    """What the tables of a region should be now, or some of them."""

    tables: Mapping[str, Manifest]
    """By name, in the order in which they are to be applied."""
    routes: frozenset[str]
    """Ids with an entry in them."""
    unused: tuple[str, ...] = ()
    """Names of those that may be deleted."""
    moves: bool = False
    """Whether some entry waits for the table where it belongs, or an alias for that of the model that has it now."""


def plan_tables(world: World, region: str, claims: Claims | None = None, only: str | None = None) -> TablesPlan | None:
    """The tables of `region`, or None where no gateway of ours runs: hosted elsewhere, Disabled or unknown.

    With `only`, the name of one, that one alone, at the cost of the models in it; all while there is more to do.
    """
    found = active_here(world, region)
    if found is None:
        return None
    claims = all_claims(world.models) if claims is None else claims
    existing, head = tables_of(world, region), table_name(region)
    alone = only is not None and rests_in_shards(world, region)
    holding = [name for name, table in existing.items() if table.spec.models]
    count = claims.routes
    if world.unreadable_models:
        count = len(claims.ids().union(route.id for table in existing.values() for route in table.spec.models))
    split = (alone and only != head) or in_shards(count, world.settings.routes_per_table, holding, region)
    wanted = (*(shard_names(region) if split else ()), head)
    if only is not None and alone and split:
        names: tuple[str, ...] = (only,)
        ids = claims.ids(shard_of_table(only)) if only != head else set[str]()
    else:
        names = (*wanted[:-1], *(name for name in existing if name not in wanted), head)
        ids = claims.ids()
    # An entry that nobody claims may be that of a model that cannot be read.
    ids |= {route.id for name in names if name in existing for route in existing[name].spec.models}
    routes = {each: route for each in sorted(ids) if (route := model_route(world, each, region, claims)) is not None}
    on_their_way = False
    if split:
        handed = {each: with_aliases_on_their_way(world, region, route, claims) for each, route in routes.items()}
        left = {
            route.id: route
            for name in names
            if name in existing
            for route in existing[name].spec.models
            if route.id not in routes and name == shard_name(region, shard_of(route.base_id))
            if is_waited_for(world, region, route, claims)
        }
        on_their_way = handed != routes or bool(left)
        routes = dict(sorted({**handed, **left}.items()))
    homes = {each: shard_name(region, shard_of(route.base_id)) if split else head for each, route in routes.items()}
    astray = {
        route.id
        for name in names
        if name in existing
        for route in existing[name].spec.models
        if homes.get(route.id, name) != name
    }
    waiting = {each for each in astray if not _arrived(world, region, existing.get(homes[each]), routes[each])}
    tables: dict[str, Manifest] = {}
    unused = []
    for name in names:
        stay = {route.id for route in existing[name].spec.models if route.id in waiting} if name in existing else set()
        models = tuple(route for each, route in routes.items() if homes[each] == name or each in stay)
        if name not in wanted and not models and _is_empty_everywhere(world, region, existing[name]):
            unused.append(name)
        else:
            tables[name] = _manifest(world, found, name, models)
    return TablesPlan(tables, frozenset(routes), tuple(unused), bool(waiting) or on_their_way)


def _arrived(world: World, region: str, home: RoutingTable | None, route: ModelRoute) -> bool:
    """Whether a route is, as it should be now, in the table where it belongs, and all live gateways have that table."""
    if home is None or find_route(home.spec, route.id) != route:
        return False
    return _accepted(home, [pod for pod in gateway_pods(world, region) if pod.ready])


def _accepted(table: RoutingTable, pods: Iterable[PodFact]) -> bool:
    """Whether all of these gateways have accepted the table as it is."""
    return not gateways_behind(table, [pod.name for pod in pods], table.metadata.generation)


def _is_empty_everywhere(world: World, region: str, table: RoutingTable) -> bool:
    """Whether nothing is in a table, and every gateway knows it, whether it is ready or not."""
    pods = world.facts.pods.get(Key(world.settings.namespace, gateway_name(region)), ())
    return not table.spec.models and _accepted(table, pods)


def _manifest(world: World, region: Region, name: str, models: tuple[ModelRoute, ...]) -> Manifest:
    code, shard = region.metadata.name, shard_of_table(name)
    # What does not say that calls are open would close them: of several tables the strictest counts.
    spec = RoutingTableSpec(region=code, models=models, auth=world.settings.gateway_auth)
    labels = gateway_labels(code)
    if shard is not None:
        labels[LABEL_SHARD] = name.removeprefix(f"{code}.")
    else:
        spec = spec.model_copy(
            update={
                "draining": region.spec.state is RegionState.DRAINING,
                "known_regions": tuple(sorted(world.regions.keys() | world.unreadable_regions)),
                "remote_gateways": remote_gateways(world, code),
                "gateway_service": GatewayService(namespace=world.settings.namespace, name=gateway_name(code)),
                "tenants": tenant_entries(world, code),
            }
        )
    return {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": object_meta(name, labels, region),
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
