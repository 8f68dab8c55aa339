"""Routing: the RoutingTable of a region, and the routes in it."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping

from tomoul.api.meta import API_VERSION
from tomoul.api.modeldeployment import CacheMode, ModelDeployment, NoStore, Ownership
from tomoul.api.region import Region, RegionState
from tomoul.api.routingtable import (
    ModelRoute,
    RemoteGateway,
    RouteCache,
    RouteCapabilities,
    RoutePool,
    RoutingTableSpec,
)
from tomoul.plan.acceptance import accepted_regions
from tomoul.plan.claims import Claims
from tomoul.plan.claims import claims as all_claims
from tomoul.plan.engines.base import PORT
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.labels import gateway_labels, object_meta
from tomoul.plan.naming import gateway_name, pool_name, table_name
from tomoul.plan.workload import pools
from tomoul.plan.world import Key, Manifest, World


def plan_routing_table(world: World, region: str, claims: Claims | None = None) -> Manifest | None:
    """The RoutingTable of `region`, or None where no gateway of ours runs: hosted elsewhere, Disabled or unknown."""
    found = active_here(world, region)
    if found is None:
        return None
    claims = all_claims(world.models) if claims is None else claims
    ids = sorted({model.spec.model.id for model in world.models.values()})
    routes = (model_route(world, model_id, region, claims) for model_id in ids)
    spec = RoutingTableSpec(
        region=region,
        draining=found.spec.state is RegionState.DRAINING,
        models=tuple(route for route in routes if route is not None),
        known_regions=tuple(sorted(world.regions)),
        remote_gateways=_remote_gateways(world, region),
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": object_meta(table_name(region), gateway_labels(region), found),
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def active_here(world: World, region: str) -> Region | None:
    """The Region, if this operator runs gateways and models in it."""
    found = world.regions.get(region)
    if found is None or found.metadata.deletion_timestamp is not None or not world.settings.hosts(region):
        return None
    return None if found.spec.state is RegionState.DISABLED else found


def model_route(world: World, model_id: str, region: str, claims: Claims) -> ModelRoute | None:
    """The entry of a model in the table of `region`; None if no region serves it, or the id means another model here.

    Several ModelDeployments may serve one id, each in other regions: the entry speaks of the one in `region` if there
    is one, else of the oldest, and its `regions` are those of all.
    """
    serving = _serving(world, model_id, claims)
    holder = claims.holder(region, model_id)
    if not serving or holder is None or not holder.is_id:
        return None
    key = serving.get(region) or next(key for key in claims.claimants(model_id) if key in serving.values())
    model = world.models[key]
    spec = model.spec
    created = model.metadata.creation_timestamp
    return ModelRoute(
        id=model_id,
        aliases=tuple(alias for alias in spec.model.aliases if _holds(claims, region, alias, key)),
        owned_by=_owned_by(model),
        created=int(created.timestamp()) if created is not None else 0,
        capabilities=RouteCapabilities(
            tools=spec.capabilities.tools is not None,
            structured_output=spec.capabilities.structured_output,
            json_mode=spec.capabilities.json_mode,
            seed=engine_of(spec).seed_support(spec),
        ),
        regions=tuple(serving),
        fallback=tuple(
            name
            for name in spec.routing.fallback
            if name != region and name in serving and world.regions[name].spec.state is RegionState.ACTIVE
        ),
        require_region=spec.routing.require_region,
        cache=_cache(model),
        timeouts=spec.routing.timeouts,
        remove_fields=engine_of(spec).REMOVE_FIELDS,
        usage_option=engine_of(spec).USAGE_OPTION,
        pools=_pools(model, region) if region in serving else (),
    )


def route_hash(route: ModelRoute) -> str:
    """Hash of a route: equal routes, wherever they were read, have equal hashes."""
    text = json.dumps(route.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find_route(spec: RoutingTableSpec, model_id: str) -> ModelRoute | None:
    """The table's entry for a model. Tables are written in order of ids, so this seldom looks at more than a few."""
    index = bisect_left(spec.models, model_id, key=lambda route: route.id)
    if index < len(spec.models) and spec.models[index].id == model_id:
        return spec.models[index]
    return next((route for route in spec.models if route.id == model_id), None)


def _serving(world: World, model_id: str, claims: Claims) -> Mapping[str, Key]:
    """Who serves the model in which region; regions sorted."""
    found: dict[str, Key] = {}
    for key in claims.claimants(model_id):
        found |= dict.fromkeys(accepted_regions(world, key, claims), key)
    return dict(sorted(found.items()))


def _holds(claims: Claims, region: str, name: str, key: Key) -> bool:
    holder = claims.holder(region, name)
    return holder is not None and holder.key == key


def _owned_by(model: ModelDeployment) -> str:
    publisher, slash, _ = model.spec.model.id.partition("/")
    third_party = model.spec.model.ownership is Ownership.THIRD_PARTY
    return publisher if third_party and slash else "tomoul"


def _cache(model: ModelDeployment) -> RouteCache:
    spec = model.spec
    engine = engine_of(spec)
    no_store = spec.cache.no_store
    if spec.cache.mode is CacheMode.DISABLED:
        no_store = NoStore.NOT_STORED  # nothing is ever stored, so every call gets what the strictest would ask for
    elif not engine.cache_promise(spec).kept:
        no_store = NoStore.REFUSE  # better no answer than a broken promise
    salted = spec.cache.mode is not CacheMode.DISABLED
    return RouteCache(mode=spec.cache.mode, no_store=no_store, salt_field=engine.SALT_FIELD if salted else None)


def _pools(model: ModelDeployment, region: str) -> tuple[RoutePool, ...]:
    return tuple(
        RoutePool(
            name=pool,
            namespace=model.metadata.namespace,
            service=pool_name(model.metadata.name, region, pool),
            port=PORT,
        )
        for pool in pools(model.spec)
    )


def _remote_gateways(world: World, region: str) -> tuple[RemoteGateway, ...]:
    found = []
    for name, other in sorted(world.regions.items()):
        if name == region or other.spec.state is RegionState.DISABLED:
            continue
        if world.settings.hosts(name):
            url = f"http://{gateway_name(name)}.{world.settings.namespace}.svc:80"
            found.append(RemoteGateway(region=name, url=url))
        elif other.spec.endpoint is not None:
            endpoint = other.spec.endpoint
            found.append(RemoteGateway(region=name, url=endpoint.url, ca_bundle=endpoint.ca_bundle))
    return tuple(found)
