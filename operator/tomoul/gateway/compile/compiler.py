"""RoutingTables and ready endpoints → one whole Envoy configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from tomoul.api.routingtable import ModelRoute, RemoteGateway, RoutingTable
from tomoul.gateway.compile.clusters import fallback_cluster_resource, pool_cluster_resource, region_cluster_resource
from tomoul.gateway.compile.endpoints import load_assignments
from tomoul.gateway.compile.listeners import gateway_listener
from tomoul.gateway.compile.models import model_clusters, model_list, model_metadata, pool_keys
from tomoul.gateway.compile.names import region_cluster
from tomoul.gateway.compile.resources import Endpoints, EnvoyResource, EnvoyResources, GatewayOptions
from tomoul.gateway.compile.routes import route_configuration


def compile_gateway(tables: Sequence[RoutingTable], endpoints: Endpoints, options: GatewayOptions) -> EnvoyResources:
    """The configuration of a gateway that serves `tables` (all shards of its region).

    Raises ValueError for a table of another region, which is a bug of the caller. Without any table the gateway
    answers that it knows no model; whether that may be published is for the caller to judge.
    """
    for table in tables:
        if table.spec.region != options.region:
            raise ValueError(
                f"RoutingTable `{table.metadata.name}` is for region `{table.spec.region}`, not `{options.region}`"
            )
    routes = _models(tables)
    gateways = {
        gateway.region: gateway
        for table in tables
        for gateway in table.spec.remote_gateways
        if gateway.region != options.region
    }
    draining = any(table.spec.draining for table in tables)
    known = {region for table in tables for region in table.spec.known_regions} | {options.region, *gateways}

    metadata: dict[str, Any] = {"gateway": {"region": options.region, "max_body_bytes": options.max_body_bytes}}
    metadata |= {f"region/{region}": _region_metadata(region, gateways) for region in sorted(known)}
    entries: dict[str, Any] = {}
    clusters: dict[str, EnvoyResource] = {}
    for route in routes:
        targets = model_clusters(route, draining=draining, reachable=frozenset(gateways))
        entries[route.id] = model_metadata(route, targets, options.salt_key)
        for name, members in targets.aggregates.items():
            clusters[name] = fallback_cluster_resource(name, members)

    pools = sorted({pool for route in routes for pool in pool_keys(route)})
    pool_resources = [pool_cluster_resource(pool) for pool in pools]
    region_resources = [region_cluster_resource(gateway, options.region) for gateway in gateways.values()]
    clusters |= {str(resource["name"]): resource for resource in (*pool_resources, *region_resources)}
    listener = gateway_listener(options)
    route_config = route_configuration(routes, entries, metadata, model_list(routes))
    return EnvoyResources(
        listeners={str(listener["name"]): listener},
        routes={str(route_config["name"]): route_config},
        clusters=dict(sorted(clusters.items())),
        endpoints=dict(sorted(load_assignments(pools, endpoints).items())),
    )


def _models(tables: Sequence[RoutingTable]) -> list[ModelRoute]:
    """All models by id; of two with the same id the first shard's."""
    routes: dict[str, ModelRoute] = {}
    for table in tables:
        for route in table.spec.models:
            routes.setdefault(route.id, route)
    return [routes[model_id] for model_id in sorted(routes)]


def _region_metadata(region: str, gateways: Mapping[str, RemoteGateway]) -> dict[str, Any]:
    return {"cluster": region_cluster(region)} if region in gateways else {}
