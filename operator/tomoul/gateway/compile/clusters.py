"""Clusters: one per pool here, one per other region's gateways."""

from typing import Any
from urllib.parse import urlsplit

from tomoul.api.routingtable import RemoteGateway
from tomoul.gateway.compile.names import FILTER, HOST_METADATA, READY_PATH, TYPES, pool_cluster, region_cluster
from tomoul.gateway.compile.resources import EnvoyResource, PoolKey
from tomoul.plan.listening import ALL, ALL_IPV4

_CONNECT_TIMEOUT = "2s"
_SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
_HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Engines queue by themselves and tell when they are full; Envoy's default of 1,024 would refuse calls before that.
_CIRCUIT_BREAKERS = {
    "thresholds": [
        {
            "max_connections": 1_000_000,
            "max_pending_requests": 1_000_000,
            "max_requests": 1_000_000,
            "max_retries": 1_000_000,
        }
    ]
}
# With a panic threshold, a pool with nothing healthy would be tried all the same in the place of the next region.
_NO_PANIC = {"healthy_panic_threshold": {"value": 0}}


# The filter's module picks the host (filter/balancer.zig): Envoy's ring hash with its bounded load counts a call once
# its connection stands, so that all of a burst with one beginning go to one host. A struct, as `xds-protos` lacks the
# message.
_BY_BEGINNING = {
    "load_balancing_policy": {
        "policies": [
            {
                "typed_extension_config": {
                    "name": "envoy.load_balancing_policies.dynamic_modules",
                    "typed_config": {
                        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                        "type_url": f"{TYPES}.extensions.load_balancing_policies.dynamic_modules.v3."
                        "DynamicModulesLoadBalancerConfig",
                        "value": {
                            "dynamic_module_config": {"name": FILTER, "do_not_close": True},
                            "lb_policy_name": "beginnings",
                        },
                    },
                }
            }
        ]
    },
}


def pool_cluster_resource(pool: PoolKey, *, affinity: bool = False, reuse_connections: bool = True) -> EnvoyResource:
    """A pool in this region; its hosts come by EDS and are ready ones only, so nothing is health-checked here.

    With `affinity` the hash that the filter leaves picks the host (see routes), else the fewest calls do. Without
    `reuse_connections` each call has a connection of its own.
    """
    # uvicorn and httplib close an idle connection after 5 s: a call sent at that moment would be lost.
    connections: dict[str, Any] = {"idle_timeout": "3s"}
    if not reuse_connections:
        connections["max_requests_per_connection"] = 1
    return {
        "name": pool_cluster(pool),
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
        "connect_timeout": _CONNECT_TIMEOUT,
        **(_BY_BEGINNING if affinity else {"lb_policy": "LEAST_REQUEST"}),
        "common_lb_config": _NO_PANIC,
        "ignore_health_on_host_removal": True,
        "circuit_breakers": _CIRCUIT_BREAKERS,
        "typed_extension_protocol_options": {
            _HTTP_PROTOCOL_OPTIONS: {
                "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": connections,
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


# TCP's own keep-alive does not look after a connection on which something was sent: what is dead without a word would
# hold up all calls on it for a quarter of an hour.
_HTTP2 = {
    "connection_keepalive": {"interval": "30s", "timeout": "10s"},
    # Of an answer that its client does not read a stream's window waits here. A connection's is larger than those of
    # all 100 streams that the other gateway lets in, or a few such clients would hold up all calls to that region.
    "initial_stream_window_size": 1024 * 1024,
    "initial_connection_window_size": 128 * 1024 * 1024,
}


def _region_health_check(host: str) -> dict[str, Any]:
    """Another region is asked whether it is there: of one that is not, each call would find it out anew.

    Whatever answers below 500 is there: what stands before its gateways may let nobody see that path. One gateway of
    several that drains answers 503 once or twice.
    """
    return {
        "timeout": _CONNECT_TIMEOUT,
        "interval": "3s",
        "no_traffic_interval": "3s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        # Each check may meet another gateway.
        "reuse_connection": False,
        "http_health_check": {
            "host": host,
            "path": READY_PATH,
            "expected_statuses": [{"start": 200, "end": 500}],
            "retriable_statuses": [{"start": 500, "end": 600}],
        },
    }


def region_cluster_resource(gateway: RemoteGateway, listen_address: str = ALL_IPV4) -> EnvoyResource:
    """Another region's gateways behind one name; their calls' pin is its code (filter/cluster_specifier.zig).

    `listen_address` tells whether this gateway may have addresses of IPv6: then names with those of both families are
    tried by both, as RFC 8305 has it, and else by IPv4.
    """
    name = region_cluster(gateway.region)
    url = urlsplit(gateway.url)
    host, tls = url.hostname or "", url.scheme == "https"
    host_metadata = {"kind": "region", "region": gateway.region}
    address = {"socket_address": {"address": host, "port_value": url.port or (443 if tls else 80)}}
    endpoint = {
        "endpoint": {"address": address, "hostname": url.netloc},
        "metadata": {"filter_metadata": {HOST_METADATA: host_metadata}},
    }
    cluster: dict[str, Any] = {
        "name": name,
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{TYPES}.extensions.clusters.dns.v3.DnsCluster",
                "dns_lookup_family": "ALL" if listen_address == ALL else "V4_PREFERRED",
                "dns_refresh_rate": "5s",
                # As LOGICAL_DNS: a name whose answers rotate must not tear down what is in flight.
                "all_addresses_in_single_endpoint": True,
            },
        },
        # A region whose name does not resolve must not keep this gateway from starting.
        "wait_for_warm_on_init": False,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "connect_timeout": _CONNECT_TIMEOUT,
        "common_lb_config": _NO_PANIC,
        "health_checks": [_region_health_check(url.netloc)],
        "circuit_breakers": _CIRCUIT_BREAKERS,
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10}},
        "typed_extension_protocol_options": {
            _HTTP_PROTOCOL_OPTIONS: {
                "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": "60s"},
                **(
                    {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": _HTTP2}}
                    if tls
                    else {"explicit_http_config": {"http_protocol_options": {}}}
                ),
            }
        },
    }
    if tls:
        trusted = {"inline_string": gateway.ca_bundle} if gateway.ca_bundle else {"filename": _SYSTEM_CA_FILE}
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": host,
                "auto_sni_san_validation": True,
                "common_tls_context": {"validation_context": {"trusted_ca": trusted}},
            },
        }
    return cluster
