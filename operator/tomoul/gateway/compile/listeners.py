"""The listener: made only of what a gateway is told at its start, since a changed listener would cut streams."""

from typing import Any

from tomoul.api.routing import Timeouts
from tomoul.gateway.compile.access_log import METRICS_NAMESPACE, access_log
from tomoul.gateway.compile.document import EXTENSION_TYPE
from tomoul.gateway.compile.local_reply import local_reply_config
from tomoul.gateway.compile.names import (
    FILTER,
    HEALTH_CHECK,
    LISTENER,
    READY_PATH,
    ROUTE_CONFIGURATION,
    TYPES,
)
from tomoul.gateway.compile.resources import EnvoyResource, GatewayOptions
from tomoul.plan.listening import envoy_address

_STREAM_BYTES = 1024 * 1024
"""What of a stream waits in Envoy for who does not read it; what the filter reads whole has more room (routes.py)."""


def gateway_listener(options: GatewayOptions) -> EnvoyResource:
    """The listener that clients and other regions' gateways call."""
    return {
        "name": LISTENER,
        "address": envoy_address(options.listen_address, options.listen_port),
        **({"enable_reuse_port": False} if options.own_port else {}),
        "per_connection_buffer_limit_bytes": _STREAM_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(options)},
                ]
            }
        ],
    }


def _manager(options: GatewayOptions) -> dict[str, Any]:
    return {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {
            "config_source": {"ads": {}, "resource_api_version": "V3"},
            "route_config_name": ROUTE_CONFIGURATION,
        },
        "http_filters": [_health_check(), _filter(), _keepalive(), _router()],
        "access_log": access_log(options.region),
        "local_reply_config": local_reply_config(options.region),
        # Everybody is a client, private addresses included: nobody's x-request-id or x-envoy-* is believed. An empty
        # list would mean the private networks, so this names an address that nobody has.
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 32}]},  # noqa: S104
        "always_set_request_id_in_response": True,
        # As in filter/cluster_specifier.zig, which has the route found anew for a model with another idle time.
        "stream_idle_timeout": f"{Timeouts().idle_seconds}s",
        "normalize_path": True,
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            # `X_Tomoul_Region` would be the same header to many servers, and another one here.
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": _STREAM_BYTES,
            # One stream that is not read on must not hold its neighbours up.
            "initial_connection_window_size": 4 * _STREAM_BYTES,
            # A load balancer sends many clients' calls over one connection, which one client's bad header must not end.
            "override_stream_error_on_invalid_http_message": True,
        },
        "request_headers_timeout": "10s",
        "request_timeout": f"{options.body_seconds}s",
    }


def _health_check() -> dict[str, Any]:
    return {
        "name": HEALTH_CHECK,
        # But for the one route that is for probes: it would see every call.
        "disabled": True,
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": READY_PATH}}],
        },
    }


def _filter() -> dict[str, Any]:
    """The filter without what it is told, which comes by itself (document.py)."""
    return {
        "name": FILTER,
        "config_discovery": {
            # Without a limit: an Envoy that gave up waiting would refuse every call.
            "config_source": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
            "type_urls": [EXTENSION_TYPE],
        },
    }


def _keepalive() -> dict[str, Any]:
    """The filter's second instance, which keeps the clients of silent streams: see filter/keepalive_filter.zig.

    The metrics of calls are its: it lives as long as the listener.
    """
    return {
        "name": "keepalive",
        "typed_config": {
            # Not by its own type, since Python's definitions of it are older than `metrics_namespace`.
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": EXTENSION_TYPE,
            "value": {
                "dynamic_module_config": {
                    "name": FILTER,
                    "do_not_close": True,
                    "metrics_namespace": METRICS_NAMESPACE,
                },
                "filter_name": "keepalive",
            },
        },
    }


def _router() -> dict[str, Any]:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
            # Counts by status and times per cluster, for which each call looks up names; ours are in the metrics.
            "dynamic_stats": False,
        },
    }
