"""Gateways of a region as the plan sees them: which live, and what they acknowledged."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from tomoul.api.conditions import Reason
from tomoul.api.routingtable import GatewayAcknowledgement, ModelRoute, RoutingTable
from tomoul.plan.claims import Claims
from tomoul.plan.judge import Verdict
from tomoul.plan.naming import gateway_name, shard_name, table_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.routing import routes_hash
from tomoul.plan.shards import shard_of
from tomoul.plan.world import Key, World
from tomoul.plan.written import not_held, rests_in_shards, written


def gateway_pods(world: World, region: str) -> tuple[PodFact, ...]:
    """Gateway pods of `region` that have not ended and are not on their way out, by name."""
    pods = world.facts.pods.get(Key(world.settings.namespace, gateway_name(region)), ())
    return tuple(sorted((pod for pod in pods if not pod.terminating and not pod.ended), key=lambda pod: pod.name))


def acknowledgements(table: RoutingTable | None) -> Mapping[str, GatewayAcknowledgement]:
    """What each gateway made of the table, by pod name."""
    return {entry.name: entry for entry in table.status.gateways} if table is not None else {}


def programmed(
    world: World,
    region: str,
    routes: Sequence[ModelRoute],
    acknowledged: str,
    claims: Claims,
    answering: Collection[str],
) -> Verdict:
    """Whether every live gateway of `region` serves `routes`: a model's and those of its adapters.

    `acknowledged` is the hash of the routes that they were last known to serve: other models' changes raise a
    table's generation, and must not make this one wait again. A gateway that came later is ready only once its Envoy
    has accepted the tables of that moment, so of it any acknowledgement will do. `answering` are the Services of the
    model that have a ready pod: until each gateway's Envoy has an endpoint of these, calls would get 503.
    """
    found = [held for route in routes if (held := written(world, region, route.id, claims)) is not None]
    wanted = routes_hash(routes)
    if len(found) < len(routes) or routes_hash([route for _, route in found]) != wanted:
        where = found[0][0].metadata.name if found else _belongs(world, region, routes[0])
        return Verdict("False", Reason.WAITING_FOR_TABLE, not_held(world, where, "route"))
    tables = {table.metadata.name: table for table, _ in found}
    verdicts = [accepted_by_all(world, region, table, known=acknowledged == wanted) for table in tables.values()]
    # Adapters have the pools of the model that they are served with.
    verdicts.append(_reached(world, region, *found[0], answering))
    return next((verdict for verdict in verdicts if verdict.status != "True"), verdicts[0])


def _reached(world: World, region: str, table: RoutingTable, route: ModelRoute, answering: Collection[str]) -> Verdict:
    """Whether every live gateway has an endpoint of each of the route's pools that has a ready pod."""
    entries = acknowledgements(table)
    live = [entries[pod.name] for pod in gateway_pods(world, region) if pod.ready and pod.name in entries]
    for pool in route.pools:
        if pool.service not in answering:
            continue
        without = [each.name for each in live if pool.namespaced_service in each.pools_without_endpoints]
        if without:
            names = ", ".join(f"`{name}`" for name in without)
            message = f"Gateways that have no endpoint of Service `{pool.service}` yet, which has ready pods: {names}"
            return Verdict("False", Reason.WAITING_FOR_ENDPOINTS, message)
    return Verdict("True", Reason.ACKNOWLEDGED)


def _belongs(world: World, region: str, route: ModelRoute) -> str:
    """The table in which a route should be that is in none."""
    return shard_name(region, shard_of(route.base_id)) if rests_in_shards(world, region) else table_name(region)


def accepted_by_all(world: World, region: str, table: RoutingTable, *, known: bool) -> Verdict:
    """Whether every live gateway of `region` has accepted `table`; where what is asked for is `known` to have been
    acknowledged before, any state of it.
    """
    live = [pod.name for pod in gateway_pods(world, region) if pod.ready]
    if not live:
        return Verdict("False", Reason.NO_LIVE_GATEWAY, f"No gateway of region `{region}` is ready")
    generation = 1 if known else table.metadata.generation
    refused = rejection(table, live) if not known else None
    if refused is not None:
        return refused
    if behind := gateways_behind(table, live, generation):
        names = ", ".join(f"`{name}`" for name in behind)
        message = (
            f"Gateways that have not accepted generation {generation} of RoutingTable `{table.metadata.name}`: {names}"
        )
        return Verdict("False", Reason.WAITING_FOR_GATEWAYS, message)
    return Verdict("True", Reason.ACKNOWLEDGED)


def gateways_behind(table: RoutingTable, gateways: Iterable[str], generation: int) -> list[str]:
    """Which of these gateways have not accepted the table in that generation."""
    entries = acknowledgements(table)
    return [name for name in gateways if name not in entries or entries[name].accepted_generation < generation]


def rejection(table: RoutingTable, live: list[str]) -> Verdict | None:
    """What the first of the live gateways said that rejected the table's generation, or None."""
    for name, entry in sorted(acknowledgements(table).items()):
        if name in live and entry.rejected_generation >= table.metadata.generation > entry.accepted_generation:
            message = f"Gateway `{name}` rejected generation {entry.rejected_generation}: {entry.message}"
            return Verdict("False", Reason.REJECTED_BY_GATEWAY, message)
    return None
