"""Gateways of a region as the plan sees them: which live, and what they acknowledged."""

from collections.abc import Mapping, Sequence

from tomoul.api.conditions import Reason
from tomoul.api.routingtable import GatewayAcknowledgement, ModelRoute, RoutingTable
from tomoul.plan.judge import Verdict
from tomoul.plan.naming import gateway_name
from tomoul.plan.routing import find_route, routes_hash
from tomoul.plan.world import Key, PodFact, World


def gateway_pods(world: World, region: str) -> tuple[PodFact, ...]:
    """Gateway pods of `region` that are not on their way out, by name."""
    pods = world.facts.pods.get(Key(world.settings.namespace, gateway_name(region)), ())
    return tuple(sorted((pod for pod in pods if not pod.terminating), key=lambda pod: pod.name))


def acknowledgements(table: RoutingTable | None) -> Mapping[str, GatewayAcknowledgement]:
    """What each gateway made of the table, by pod name."""
    return {entry.name: entry for entry in table.status.gateways} if table is not None else {}


def programmed(world: World, region: str, routes: Sequence[ModelRoute], acknowledged: str) -> Verdict:
    """Whether every live gateway of `region` serves `routes`: a model's and those of its adapters.

    `acknowledged` is the hash of the routes that they were last known to serve: other models' changes raise the
    table's generation, and must not make this one wait again. A gateway that came later is ready only once its Envoy
    has accepted the table of that moment, so of it any acknowledgement will do.
    """
    table = world.facts.tables.get(region)
    found = [find_route(table.spec, route.id) for route in routes] if table is not None else []
    wanted = routes_hash(routes)
    if table is None or None in found or routes_hash([route for route in found if route is not None]) != wanted:
        return Verdict("False", Reason.WAITING_FOR_TABLE, f"RoutingTable `{region}` does not hold the route yet")
    return accepted_by_all(world, region, table, known=acknowledged == wanted)


def accepted_by_all(world: World, region: str, table: RoutingTable, *, known: bool) -> Verdict:
    """Whether every live gateway of `region` has accepted `table`; where what is asked for is `known` to have been
    acknowledged before, any state of it.
    """
    live = [pod.name for pod in gateway_pods(world, region) if pod.ready]
    if not live:
        return Verdict("False", Reason.NO_LIVE_GATEWAY, f"No gateway of region `{region}` is ready")
    generation = 1 if known else table.metadata.generation
    entries = acknowledgements(table)
    refused = rejection(table, live) if not known else None
    if refused is not None:
        return refused
    behind = [name for name in live if name not in entries or entries[name].accepted_generation < generation]
    if behind:
        names = ", ".join(f"`{name}`" for name in behind)
        message = f"Gateways that have not accepted generation {generation} of RoutingTable `{region}`: {names}"
        return Verdict("False", Reason.WAITING_FOR_GATEWAYS, message)
    return Verdict("True", Reason.ACKNOWLEDGED)


def rejection(table: RoutingTable, live: list[str]) -> Verdict | None:
    """What the first of the live gateways said that rejected the table's generation, or None."""
    for name, entry in sorted(acknowledgements(table).items()):
        if name in live and entry.rejected_generation >= table.metadata.generation > entry.accepted_generation:
            message = f"Gateway `{name}` rejected generation {entry.rejected_generation}: {entry.message}"
            return Verdict("False", Reason.REJECTED_BY_GATEWAY, message)
    return None
