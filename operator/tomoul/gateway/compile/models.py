"""What the filter knows of a model: where its calls go, what they may ask for, how its cache policy is kept."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.routing import Timeouts
from tomoul.api.routingtable import ModelRoute, PoolName
from tomoul.gateway.compile.names import pool_cluster, region_cluster
from tomoul.gateway.compile.resources import PoolKey


@dataclass(frozen=True)
class ModelClusters:
    """Where a model's calls go: clusters to try in order, none where they can go nowhere or there is no canary."""

    pinned: Sequence[str]
    """Calls that name this region."""
    unpinned: Sequence[str]
    """Calls that name none."""
    no_store_pinned: Sequence[str]
    """The same with `X-Tomoul-Cache: no-store`, where that has a pool of its own."""
    no_store_unpinned: Sequence[str]
    canary_pinned: Sequence[str]
    canary_unpinned: Sequence[str]
    canary_weight: int
    """Share of the calls that go to the canary, in percent."""


def model_clusters(route: ModelRoute, *, draining: bool, reachable: frozenset[str]) -> ModelClusters:
    """Clusters of a model; `reachable` are the regions whose gateways are known, `draining` says whether only calls
    that name this region may be served in it.
    """
    elsewhere = [region_cluster(region) for region in route.fallback if region in reachable]
    default, no_store, canary = (_pool(route, name) for name in ("default", "no-store", "canary"))
    tried = canary if default else []

    def unpinned(pools: Sequence[str]) -> Sequence[str]:
        return elsewhere if draining else [*pools, *elsewhere]

    return ModelClusters(
        pinned=default,
        unpinned=unpinned(default),
        no_store_pinned=no_store,
        no_store_unpinned=unpinned(no_store) if no_store else [],
        # A canary that has no pod ready, or refuses a call before it has begun, costs nobody an answer.
        canary_pinned=[*tried, *default] if tried else [],
        canary_unpinned=unpinned([*tried, *default]) if tried and not draining else [],
        canary_weight=next((pool.weight or 0 for pool in route.pools if pool.name == "canary"), 0),
    )


def model_entry(route: ModelRoute, clusters: ModelClusters, reachable: frozenset[str]) -> dict[str, Any]:
    """One model's entry in the filter's document. What is false, empty or unknown is left out."""
    no_store = _no_store(route)
    weight = clusters.canary_weight
    targets = {
        "pinned": _targets(clusters.pinned, clusters.canary_pinned, weight),
        "unpinned": _targets(clusters.unpinned, clusters.canary_unpinned, weight),
    }
    if no_store == "pool":
        targets["no_store_pinned"] = _targets(clusters.no_store_pinned)
        targets["no_store_unpinned"] = _targets(clusters.no_store_unpinned)
    entry: dict[str, Any] = {
        "id": route.id,
        "aliases": list(route.aliases),
        "card": json.dumps(model_card(route), separators=(",", ":")),
        "regions": list(route.regions),
        "fallback": [region for region in route.fallback if region in reachable],
        "require_region": route.require_region,
        "tools": route.capabilities.tools,
        "structured_output": route.capabilities.structured_output,
        "json_mode": route.capabilities.json_mode,
        "remove_fields": list(route.remove_fields),
        "set_fields": [{"name": field.name, "value": field.value} for field in route.set_fields],
        "usage_option": route.usage_option,
        "counts_one_choice": route.counts_one_choice,
        "salt_field": route.cache.salt_field,
        "former_salt_fields": list(route.cache.former_salt_fields or ()),
        "salt": _salt(route),
        "no_store": no_store,
        "affinity": route.affinity is not None,
        "clusters": {name: listed for name, listed in targets.items() if listed},
        "seed": route.capabilities.seed,
        "seeds": route.seeds,
        "random_seed": route.random_seed,
        "fingerprint": _fingerprint(route, "default"),
        "no_store_fingerprint": _fingerprint(route, "no-store") if no_store == "pool" else None,
        "timeouts": timeouts_entry(route.timeouts),
    }
    return {key: value for key, value in entry.items() if value not in (None, False, [], {})}


def timeouts_entry(timeouts: Timeouts) -> dict[str, int]:
    """Timeouts as the filter reads them."""
    return {"request_seconds": timeouts.request_seconds, "idle_seconds": timeouts.idle_seconds}


def _targets(clusters: Sequence[str], canary: Sequence[str] = (), weight: int = 0) -> list[dict[str, Any]]:
    if not clusters:
        return []
    if not canary:
        return [{"clusters": list(clusters)}]
    return [
        {"clusters": list(canary), "weight": weight, "trial": "canary"},
        {"clusters": list(clusters), "weight": 100 - weight, "trial": "stable"},
    ]


def _fingerprint(route: ModelRoute, name: PoolName) -> str:
    """Changes with what answers in the pool; of a table that does not say, with the model and its pools."""
    told = next((pool.fingerprint for pool in route.pools if pool.name == name), None)
    if told is not None:
        return told
    pools = [(pool.name, pool.namespace, pool.service) for pool in route.pools]
    return f"fp_{hashlib.sha256(json.dumps([route.id, pools]).encode()).hexdigest()[:10]}"


def _salt(route: ModelRoute) -> str | None:
    """Whose salt the model's calls get; None if there is no cache or the engine has no field for it."""
    if route.cache.salt_field is None or route.cache.mode is CacheMode.DISABLED:
        return None
    return "tenant" if route.cache.mode is CacheMode.TENANT else "shared"


def model_card(route: ModelRoute) -> dict[str, Any]:
    """What `GET /v1/models/{id}` answers but for `regions`, which depend on who asks."""
    return {
        "id": route.id,
        "object": "model",
        "created": route.created,
        "owned_by": route.owned_by,
        **({"parent": route.adapter_of} if route.adapter_of is not None else {}),
        "capabilities": {
            "tools": route.capabilities.tools,
            "structured_output": route.capabilities.structured_output,
            "json_mode": route.capabilities.json_mode,
            "seed": route.capabilities.seed,
        },
    }


def pool_keys(route: ModelRoute) -> list[PoolKey]:
    """The model's pools in this region."""
    return [PoolKey(pool.namespace, pool.service) for pool in route.pools]


def canary_keys(route: ModelRoute) -> list[PoolKey]:
    """Those of them that are canaries."""
    return [PoolKey(pool.namespace, pool.service) for pool in route.pools if pool.name == "canary"]


def _pool(route: ModelRoute, name: PoolName) -> list[str]:
    """The cluster of the model's pool of that name, if it has one here."""
    return [pool_cluster(PoolKey(pool.namespace, pool.service)) for pool in route.pools if pool.name == name][:1]


def _no_store(route: ModelRoute) -> str:
    """What the filter does with `no-store`: `as_is`, `salt` (a random one), `pool` (its own) or `refuse`.

    A promise that this region cannot keep is refused, never passed on as if it were kept.
    """
    if route.cache.mode is CacheMode.DISABLED:
        return "as_is"
    if route.cache.no_store is NoStore.REFUSE:
        return "refuse"
    if not route.pools:
        # Another region answers, and its gateway keeps the promise or refuses.
        return "as_is"
    if route.cache.no_store is NoStore.ISOLATED and route.cache.salt_field is not None:
        return "salt"
    if route.cache.no_store is NoStore.NOT_STORED and _pool(route, "no-store"):
        return "pool"
    return "refuse"
