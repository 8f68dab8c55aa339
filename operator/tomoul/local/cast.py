"""Who plays in the walk: the models and regions of the files that can show each step."""

from collections.abc import Mapping
from dataclasses import dataclass

from tomoul.api.cache import NoStore
from tomoul.api.routingtable import RoutingTable


@dataclass(frozen=True)
class Cast:
    """Who plays in the walk."""

    model: str
    """A model with tools, structured output and a pool for `no-store`."""
    regions: tuple[str, ...]
    """Its regions."""
    cached_in: str
    """A region in which one replica serves it, so that a repeated prompt meets the same cache."""
    absent: tuple[str, str] | None
    """A model, and a region that does not serve it."""
    served: frozenset[str]
    """Ids of all models."""


def choose_cast(tables: Mapping[str, RoutingTable], replicas: Mapping[tuple[str, str], int]) -> Cast | None:
    """Who can play, by the tables by region and the replicas of each (model id, region); None if nobody can."""
    routes = {route.id: route for table in tables.values() for route in table.spec.models}
    absent = next(
        ((route.id, region) for route in routes.values() for region in tables if region not in route.regions), None
    )
    for route in routes.values():
        alone = [region for region in route.regions if replicas.get((route.id, region)) == 1]
        able = route.capabilities.tools and route.capabilities.structured_output
        if alone and able and route.cache.no_store is NoStore.NOT_STORED and not route.require_region:
            return Cast(route.id, route.regions, alone[0], absent, frozenset(routes))
    return None
