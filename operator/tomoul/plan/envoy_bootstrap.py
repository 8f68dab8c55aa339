"""Envoy's bootstrap: what it is started with, before the agent beside it has told it anything."""

from typing import Any

from tomoul.plan.listening import ALL_IPV4, envoy_address

MODULES_PATH = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"
"""Environment variable with the folder in which Envoy looks for its modules."""
_TYPES = "type.googleapis.com/envoy"
MAX_HEAP_BYTES = 1024 * 1024 * 1024
_MAX_CONNECTIONS = 50_000


def envoy_bootstrap(
    *,
    ads_socket: str,
    admin_socket: str,
    metrics_port: int,
    listen_address: str = ALL_IPV4,
    max_heap_bytes: int = MAX_HEAP_BYTES,
) -> dict[str, Any]:
    """A bootstrap (proto JSON with the proto field names) that takes everything else over ADS.

    `ads_socket` and `admin_socket` are paths of Unix sockets: the agent's, and the one on which Envoy serves its admin
    interface. `metrics_port` serves `/stats/prometheus` and `/ready` to the network; 0 leaves that listener out.
    Near `max_heap_bytes` calls are refused.
    """
    bootstrap: dict[str, Any] = {
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                # Envoy's own back-off goes to 30 s: for that long, a gateway whose agent was away would serve the old.
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": "ads",
                            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "2s"}},
                        }
                    }
                ],
            },
            # Without a limit: an Envoy that gave up waiting would call itself ready with nothing to serve.
            "lds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
            "cds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
        },
        "static_resources": {"clusters": [_pipe_cluster("ads", ads_socket, http2=True)]},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "overload_manager": _overload_manager(max_heap_bytes),
    }
    if metrics_port:
        bootstrap["static_resources"]["clusters"].append(_pipe_cluster("admin", admin_socket, http2=False))
        bootstrap["static_resources"]["listeners"] = [_metrics_listener(listen_address, metrics_port)]
    return bootstrap


def _pipe_cluster(name: str, path: str, *, http2: bool) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}],
        },
    }
    if http2:
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    # A dead agent is noticed and reconnected to.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
                },
            }
        }
    return cluster


def _overload_manager(max_heap_bytes: int) -> dict[str, Any]:
    return {
        "refresh_interval": "0.25s",
        # Which streams hold 1 MiB or more, for the action that ends them.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": f"{_TYPES}.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": max_heap_bytes,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{_TYPES}.extensions.resource_monitors.downstream_connections.v3."
                    "DownstreamConnectionsConfig",
                    "max_active_downstream_connections": _MAX_CONNECTIONS,
                },
            },
        ],
        "actions": [
            _on_heap("envoy.overload_actions.shrink_heap", {"threshold": {"value": 0.9}}),
            _on_heap("envoy.overload_actions.stop_accepting_requests", {"threshold": {"value": 0.98}}),
            # Refusing new calls does not keep the bodies of those that are there from growing. Over HTTP/2 the largest
            # go first, over HTTP/1.1, where Envoy cannot tell, whatever sends more.
            _on_heap(
                "envoy.overload_actions.reset_high_memory_stream",
                {"scaled": {"scaling_threshold": 0.9, "saturation_threshold": 0.98}},
            ),
        ],
        "loadshed_points": [
            _on_heap("envoy.load_shed_points.http1_server_abort_dispatch", {"threshold": {"value": 0.98}})
        ],
    }


def _on_heap(name: str, trigger: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "triggers": [{"name": "envoy.resource_monitors.fixed_heap", **trigger}]}


def _metrics_listener(address: str, port: int) -> dict[str, Any]:
    # Only these two paths, and only GET: the rest of the admin interface can stop Envoy or show its secrets.
    routes = [
        {
            "match": {
                "path": path,
                "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
            },
            "route": {"cluster": "admin"},
        }
        for path in ("/stats/prometheus", "/ready")
    ]
    manager = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "metrics",
        "route_config": {"name": "metrics", "virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": "metrics",
        "address": envoy_address(address, port),
        # Scrapes must work where calls are refused for want of connections.
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
