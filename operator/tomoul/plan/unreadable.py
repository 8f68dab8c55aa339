"""Unreadable: what gateways are told of Regions and ModelDeployments that this version of the operator cannot read.

They are there, perhaps written by a newer version, so what a live RoutingTable said of them last goes on.
"""

from tomoul.api.region import RegionState
from tomoul.api.routingtable import ModelRoute, RemoteGateway
from tomoul.plan.claims import Claims
from tomoul.plan.naming import table_name
from tomoul.plan.world import Key, World
from tomoul.plan.written import tables_of


def unreadable_rival(world: World, model_id: str) -> Key | None:
    """The first ModelDeployment with this model id that cannot be read, or None."""
    return min((key for key, known in world.unreadable_models.items() if known == model_id), default=None)


def takes_fallback(world: World, region: str, last: ModelRoute | None) -> bool:
    """Whether `region` may be a fallback: an unreadable one if it is one in `last`, the entry that a table has now."""
    if region in world.unreadable_regions:
        return last is not None and region in last.fallback
    return region in world.regions and world.regions[region].spec.state is RegionState.ACTIVE


def frozen_gateways(world: World, region: str) -> tuple[RemoteGateway, ...]:
    """Gateways of unreadable regions, as the table of `region` has them."""
    table = world.facts.tables.get(table_name(region))
    known = table.spec.remote_gateways if table is not None else ()
    return tuple(gateway for gateway in known if gateway.region in world.unreadable_regions)


def is_frozen(world: World, model_id: str, claims: Claims) -> bool:
    """Whether a ModelDeployment that cannot be read has this model id.

    Where not even the id of one can be read, it may be each id that nobody else has.
    """
    ids = world.unreadable_models.values()
    return model_id in ids or (None in ids and not claims.claimants(model_id))


def frozen_name(world: World, region: str, name: str, claims: Claims) -> bool:
    """Whether a model id or alias means a model whose entry in the tables of `region` stays as it is."""
    if not world.unreadable_models:
        return False
    return any(
        name in (route.id, *route.aliases) and is_frozen(world, route.base_id, claims)
        for table in tables_of(world, region).values()
        for route in table.spec.models
    )


def frozen_route(world: World, region: str, last: ModelRoute, claims: Claims) -> ModelRoute | None:
    """`last`, the entry in the tables of `region`, without what is gone by now; None if none of its regions is left."""
    regions = tuple(name for name in last.regions if name in world.regions or name in world.unreadable_regions)
    if not regions:
        return None
    return last.model_copy(
        update={
            "aliases": tuple(alias for alias in last.aliases if not _is_id_here(region, alias, claims)),
            "regions": regions,
            "fallback": tuple(name for name in last.fallback if takes_fallback(world, name, last)),
        }
    )


def _is_id_here(region: str, name: str, claims: Claims) -> bool:
    owner = claims.owner(region, name)
    return owner is not None and owner.is_id
