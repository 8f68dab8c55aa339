"""RoutingTables and ready endpoints → one whole Envoy configuration."""

from collections.abc import Iterable, Sequence

from tomoul.api.routingtable import GatewayAuth, ModelRoute, RoutingTable
from tomoul.gateway.compile.clusters import pool_cluster_resource, region_cluster_resource
from tomoul.gateway.compile.document import Callers, filter_document, filter_extension
from tomoul.gateway.compile.endpoints import load_assignments
from tomoul.gateway.compile.listeners import gateway_listener
from tomoul.gateway.compile.models import canary_keys, model_clusters, pool_keys
from tomoul.gateway.compile.resources import Endpoints, EnvoyResource, EnvoyResources, GatewayOptions
from tomoul.gateway.compile.routes import route_configuration
from tomoul.gateway.compile.tenants import KnownTenant, gateway_count, requires_keys


def compile_gateway(
    tables: Sequence[RoutingTable],
    endpoints: Endpoints,
    options: GatewayOptions,
    tenants: Sequence[KnownTenant] = (),
) -> EnvoyResources:
    """The configuration of a gateway that serves `tables` (all shards of its region) to their `tenants`.

    Raises ValueError for a table of another region, which is a bug of the caller. Without any table the gateway
    answers that it knows no model; whether that may be published is for the caller to judge.
    """
    for table in tables:
        if table.spec.region != options.region:
            raise ValueError(
                f"RoutingTable `{table.metadata.name}` is for region `{table.spec.region}`, not `{options.region}`"
            )
    routes = merged_models(tables)
    gateways = {
        gateway.region: gateway
        for table in tables
        for gateway in table.spec.remote_gateways
        if gateway.region != options.region
    }
    draining = any(table.spec.draining for table in tables)
    known = {region for table in tables for region in table.spec.known_regions} | {options.region, *gateways}
    targets = [model_clusters(route, draining=draining, reachable=frozenset(gateways)) for route in routes]

    pools = sorted({pool for route in routes for pool in pool_keys(route)})
    canaries = {pool for route in routes for pool in canary_keys(route)}
    by_prefix = {pool for route in routes if route.affinity for pool in pool_keys(route)}
    one_call = {pool for route in routes if not route.reuse_connections for pool in pool_keys(route)}
    cluster_resources = [
        *(
            pool_cluster_resource(pool, affinity=pool in by_prefix, reuse_connections=pool not in one_call)
            for pool in pools
        ),
        *(region_cluster_resource(gateway, options.listen_address) for gateway in gateways.values()),
    ]
    callers = Callers(
        auth=GatewayAuth.REQUIRED if requires_keys(tables) else GatewayAuth.NONE,
        tenants=tenants,
        gateways=gateway_count(tables, endpoints),
    )
    routed = list(zip(routes, targets, strict=True))
    extension = filter_extension(filter_document(routed, known, gateways, options, callers, draining=draining))
    return EnvoyResources(
        listeners=_by_name([gateway_listener(options)]),
        routes=_by_name([route_configuration(options.max_body_bytes)]),
        extensions=_by_name([extension]),
        clusters=_by_name(cluster_resources),
        endpoints=dict(sorted(load_assignments(pools, endpoints, canaries).items())),
    )


def _by_name(resources: Iterable[EnvoyResource]) -> dict[str, EnvoyResource]:
    return dict(sorted((str(resource["name"]), resource) for resource in resources))


def merged_models(tables: Sequence[RoutingTable]) -> list[ModelRoute]:
    """All models by id. Of two with one id the entry counts of the table that has the region's name, else the first's.

    While models go from one table to others, the operator keeps that entry up to date for as long as it is there.
    """
    routes: dict[str, ModelRoute] = {}
    for table in sorted(tables, key=lambda table: (table.metadata.name != table.spec.region, table.metadata.name)):
        for route in table.spec.models:
            routes.setdefault(route.id, route)
    return [routes[model_id] for model_id in sorted(routes)]
