"""The filter's document: all that it knows of its gateway, of regions, models and tenants.

filter/document.zig reads it, and refuses what it does not know. It travels as one resource of its own, since only this
changes with a model, and is data: its size does not slow a call down.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomoul.api.routingtable import GatewayAuth, ModelRoute
from tomoul.gateway.compile.models import ModelClusters, model_entry, timeouts_entry
from tomoul.gateway.compile.names import FILTER, TYPES, region_cluster
from tomoul.gateway.compile.resources import EnvoyResource, GatewayOptions
from tomoul.gateway.compile.routes import longest_timeouts
from tomoul.gateway.compile.salt import ANONYMOUS_TENANT, SHARED, tenant_salt_key
from tomoul.gateway.compile.tenants import KnownTenant

EXTENSION_TYPE = f"{TYPES}.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
"""Type of the filter's configuration."""


@dataclass(frozen=True)
class Callers:
    """Who may call."""

    auth: GatewayAuth
    tenants: Sequence[KnownTenant]
    gateways: int
    """How many gateways share the tenants' limits, this one included."""


def filter_document(
    routes: Sequence[tuple[ModelRoute, ModelClusters]],
    regions: Iterable[str],
    reachable: Iterable[str],
    options: GatewayOptions,
    callers: Callers,
    *,
    draining: bool,
) -> dict[str, Any]:
    """The document; `regions` are all that exist, `reachable` the other ones whose gateways are known."""
    others = frozenset(reachable)
    return {
        "region": options.region,
        "max_body_bytes": options.max_body_bytes,
        "max_held_bytes": options.max_held_bytes,
        "comment_seconds": options.comment_seconds,
        "longest_timeouts": timeouts_entry(longest_timeouts([route for route, _ in routes])),
        "auth": callers.auth.value,
        "draining": draining,
        "gateways": callers.gateways,
        "regions": [
            {"name": region, **({"cluster": region_cluster(region)} if region in others else {})}
            for region in sorted(regions)
        ],
        "models": [model_entry(route, clusters, others) for route, clusters in routes],
        "tenants": [_tenant(tenant, options) for tenant in callers.tenants]
        if callers.auth is GatewayAuth.REQUIRED
        else [{"name": ANONYMOUS_TENANT, "salt_key": tenant_salt_key(options.salt_key, ANONYMOUS_TENANT)}],
        "shared_salt_key": tenant_salt_key(options.salt_key, SHARED),
    }


def _tenant(tenant: KnownTenant, options: GatewayOptions) -> dict[str, Any]:
    """A tenant's entry. No list of regions or models means all, as in its resource."""
    entry = tenant.entry
    made = {
        "name": tenant.name,
        "keys": list(tenant.hashes),
        "salt_key": tenant_salt_key(options.salt_key, tenant.name),
        "regions": list(entry.regions),
        "models": list(entry.models),
        "require_region": entry.require_region,
        "limits": entry.limits.model_dump(exclude_none=True),
    }
    return {key: value for key, value in made.items() if value not in (False, [], {})}


def filter_extension(document: Mapping[str, Any]) -> EnvoyResource:
    """The TypedExtensionConfig that brings the document to the filter."""
    return {
        "name": FILTER,
        "typed_config": {
            "@type": EXTENSION_TYPE,
            # Never unloaded: what it counts outlives its configurations.
            "dynamic_module_config": {"name": FILTER, "do_not_close": True},
            "filter_name": FILTER,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": json.dumps(document, separators=(",", ":")),
            },
        },
    }
