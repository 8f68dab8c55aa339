"""Routing: the entry of a model in the tables of a region."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import reduce

from tomoul.api.modeldeployment import ModelDeployment, Ownership
from tomoul.api.region import Region, RegionState
from tomoul.api.rollout import RolloutPhase
from tomoul.api.routing import Affinity
from tomoul.api.routingtable import (
    ModelRoute,
    PoolName,
    RouteCache,
    RouteCapabilities,
    RoutePool,
    SeedSupport,
)
from tomoul.plan.acceptance import refusals
from tomoul.plan.adapters import adapter_named, is_loaded, set_fields
from tomoul.plan.claims import Claims
from tomoul.plan.engines.base import PORT
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.naming import pool_name
from tomoul.plan.optout import takes_no_store
from tomoul.plan.promptcache import truthful, wanted_cache
from tomoul.plan.rollout import CANARY
from tomoul.plan.running import pool_fingerprint, seeds_on_nodes, told_seeds
from tomoul.plan.seeds import deterministic, weaker
from tomoul.plan.takeover import common_route
from tomoul.plan.unreadable import frozen_name, frozen_route, is_frozen, takes_fallback
from tomoul.plan.workload import pools
from tomoul.plan.world import Key, World
from tomoul.plan.written import written_route


def active_here(world: World, region: str) -> Region | None:
    """The Region, if this operator runs gateways and models in it."""
    found = world.regions.get(region)
    if found is None or found.metadata.deletion_timestamp is not None or not world.settings.hosts(region):
        return None
    return None if found.spec.state is RegionState.DISABLED else found


def model_route(world: World, model_id: str, region: str, claims: Claims) -> ModelRoute | None:
    """The entry of a model in the tables of `region`; None if no region serves it, or the id means another model here.

    Several ModelDeployments may serve one id, each in other regions: the entry speaks of the one in `region` if there
    is one, else of the oldest, and its `regions` are those of all. A model that is refused goes on as they have it.
    """
    last = written_route(world, region, model_id, claims)
    if is_frozen(world, last.base_id if last is not None else model_id, claims):
        return frozen_route(world, region, last, claims) if last is not None else None
    serving = _serving(world, model_id, region, claims, last)
    holder = claims.holder(region, model_id)
    if not serving or holder is None or not holder.is_id:
        return None
    if region not in serving and frozen_name(world, region, model_id, claims):
        return None
    key = serving.get(region) or next(key for key in claims.claimants(model_id) if key in serving.values())
    verdicts = refusals(world, key, claims)
    if all(verdicts[name] is not None for name in ([region] if region in serving else verdicts)):
        assert last is not None, "what is kept is in the table"
        return _kept(world, region, last, serving, claims)
    model = world.models[key]
    spec = model.spec
    adapter = adapter_named(spec, model_id)
    fields = engine_of(spec).body_fields(spec)
    seeds = engine_of(spec).seeds(spec)
    created = model.metadata.creation_timestamp
    route = ModelRoute(
        id=model_id,
        aliases=tuple(
            alias
            for alias in (spec.model.aliases if adapter is None else ())
            if _holds(claims, region, alias, key) and not frozen_name(world, region, alias, claims)
        ),
        owned_by=_owned_by(model, model_id),
        created=int(created.timestamp()) if created is not None else 0,
        capabilities=RouteCapabilities(
            tools=spec.capabilities.tools is not None,
            structured_output=spec.capabilities.structured_output,
            json_mode=spec.capabilities.json_mode,
            seed=_seed(world, model, region, serving),
        ),
        regions=tuple(serving),
        fallback=_fallback(world, spec.routing.fallback, region, serving, last),
        require_region=spec.routing.require_region,
        cache=_cache(world, model, region) if region in serving else wanted_cache(model),
        affinity="Prefix" if spec.routing.affinity is Affinity.PREFIX else None,
        timeouts=spec.routing.timeouts,
        remove_fields=fields.remove,
        set_fields=set_fields(spec, adapter) if adapter is not None else (),
        adapter_of=spec.model.id if adapter is not None else None,
        usage_option=fields.usage_option,
        counts_one_choice=fields.counts_one_choice,
        reuse_connections=engine_of(spec).keeps_connections,
        seeds=seeds.known,
        random_seed=seeds.one_for_all and _repeats(world, model, region),
        pools=_pools(world, model, region) if region in serving else (),
    )
    if region not in serving or last is None:
        return route
    return common_route(world, model, world.regions[region], route, last)


def route_hash(route: ModelRoute) -> str:
    """Hash of a route: equal routes, wherever they were read, have equal hashes.

    Fingerprints follow the pods that come and go, and nobody waits for one.
    """
    moving = {"pools": {"__all__": {"fingerprint"}}}
    told = route.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=moving)
    text = json.dumps(told, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def routes_hash(routes: Sequence[ModelRoute]) -> str:
    """Hash of routes; of a single one its own."""
    found = [route_hash(route) for route in routes]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()[:32]


def _serving(world: World, model_id: str, at: str, claims: Claims, last: ModelRoute | None) -> Mapping[str, Key]:
    """Who serves the model in which region, as the tables of region `at` have it; regions sorted.

    A refused model still serves where it did: a mistake in a spec must not stop what runs.
    """
    found: dict[str, Key] = {}
    for key in claims.claimants(model_id):
        for name, refusal in refusals(world, key, claims).items():
            adapter = adapter_named(world.models[key].spec, model_id)
            if adapter is not None and not is_loaded(world, key, name, adapter):
                continue
            if refusal is None or _keeps(world, key, name, claims, last, at, model_id):
                found[name] = key
    return dict(sorted(found.items()))


def _keeps(
    world: World, key: Key, region: str, claims: Claims, last: ModelRoute | None, at: str, model_id: str
) -> bool:
    """Whether a model that is refused in `region` goes on there by `last`, its entry in the table of region `at`."""
    if last is None or region not in last.regions or not _holds(claims, region, model_id, key):
        return False
    if region in world.unreadable_regions:
        return True
    found = world.regions.get(region)
    if found is None:
        return region in world.unreadable_regions
    if found.metadata.deletion_timestamp is not None or found.spec.state is RegionState.DISABLED:
        return False
    return region != at or any(
        (pool.namespace, pool.service) == (key.namespace, pool_name(key.name, region, pool.name)) for pool in last.pools
    )


def _kept(world: World, region: str, last: ModelRoute, serving: Mapping[str, Key], claims: Claims) -> ModelRoute:
    """`last`, the entry as it is, without what others have taken over or what is out of use by now."""
    mine = claims.claimants(last.id)
    cache = last.cache
    if region in serving:
        cache = truthful(world, serving[region], region, cache, cache.salt_field)
    rivals = {alias: claims.holder(region, alias) for alias in last.aliases}
    return last.model_copy(
        update={
            "aliases": tuple(alias for alias, rival in rivals.items() if rival is None or rival.key in mine),
            "regions": tuple(serving),
            "fallback": _fallback(world, last.fallback, region, serving, last),
            "cache": cache,
            "pools": last.pools if region in serving else (),
        }
    )


def _fallback(
    world: World, wanted: Sequence[str], region: str, serving: Mapping[str, Key], last: ModelRoute | None
) -> tuple[str, ...]:
    return tuple(name for name in wanted if name != region and name in serving and takes_fallback(world, name, last))


def _holds(claims: Claims, region: str, name: str, key: Key) -> bool:
    holder = claims.holder(region, name)
    return holder is not None and holder.key == key


def _owned_by(model: ModelDeployment, model_id: str) -> str:
    publisher, slash, _ = model_id.partition("/")
    third_party = model.spec.model.ownership is Ownership.THIRD_PARTY
    return publisher if third_party and slash else "tomoul"


def _cache(world: World, model: ModelDeployment, region: str) -> RouteCache:
    key = Key(model.metadata.namespace, model.metadata.name)
    wanted = wanted_cache(model)
    salt, own_pool = engine_of(model.spec).body_fields(model.spec).salt, takes_no_store(world, model, region)
    return truthful(world, key, region, wanted, salt, own_pool=own_pool)


def _seed(world: World, model: ModelDeployment, region: str, serving: Mapping[str, Key]) -> SeedSupport:
    """What a seed is worth here, or, of a model that runs only elsewhere, in all of its regions."""
    if region in serving:
        return told_seeds(world, model, world.regions[region], pools(model.spec)).support
    found = [world.regions[name] for name in serving if name in world.regions]
    worths = [seeds_on_nodes(world, model, each).support for each in found]
    return reduce(weaker, worths, engine_of(model.spec).seeds(model.spec).worth if not worths else worths[0])


def _repeats(world: World, model: ModelDeployment, region: str) -> bool:
    found = world.regions.get(region)
    return found is not None and deterministic(model.spec, found, world.settings)


def _pools(world: World, model: ModelDeployment, region: str) -> tuple[RoutePool, ...]:
    def pool_named(name: PoolName, weight: int | None = None) -> RoutePool:
        return RoutePool(
            name=name,
            namespace=model.metadata.namespace,
            service=pool_name(model.metadata.name, region, name),
            port=PORT,
            weight=weight,
            # A canary's calls are calls to `default`.
            fingerprint=None if name == CANARY else pool_fingerprint(world, model, world.regions[region], name),
        )

    found = tuple(pool_named(name) for name in pools(model.spec))
    if takes_no_store(world, model, region):
        found += (pool_named("no-store"),)
    rollout = next((row.rollout for row in model.status.regions if row.name == region), None)
    tried = rollout is not None and rollout.phase == RolloutPhase.CANARY
    if tried and model.spec.rollout.canary is not None:
        found += (pool_named(CANARY, model.spec.rollout.canary.weight),)
    return found
