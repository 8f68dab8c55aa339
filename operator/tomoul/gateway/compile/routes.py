"""The RouteConfiguration: one route for all calls and one for probes, which never change.

The filter's module names a call's cluster and timeouts, and how it is tried again (filter/cluster_specifier.zig).
"""

from collections.abc import Sequence
from typing import Any

from tomoul.api.routing import Timeouts
from tomoul.api.routingtable import ModelRoute
from tomoul.gateway.compile.names import FILTER, FILTER_STATE_HASH, HEALTH_CHECK, READY_PATH, ROUTE_CONFIGURATION, TYPES
from tomoul.gateway.compile.resources import EnvoyResource

# A call that the engine may have begun is never sent twice: only what failed before its first byte was sent.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
_RETRIES = 2
_ROOM_BESIDE_BODY = 64 * 1024


def route_configuration(max_body_bytes: int) -> EnvoyResource:
    """The route of all calls, whose bodies have up to so many bytes, and of probes."""
    return {
        "name": ROUTE_CONFIGURATION,
        "virtual_hosts": [
            {
                "name": "gateway",
                "domains": ["*"],
                # The filter reads bodies and answers whole, of which connections and streams of HTTP/2 would hold but a
                # part, and adds a salt; past this Envoy answers 413 by itself.
                "request_body_buffer_limit": max_body_bytes + _ROOM_BESIDE_BODY,
                "routes": [
                    {
                        "name": "probes",
                        "match": {"path": READY_PATH},
                        "typed_per_filter_config": {
                            HEALTH_CHECK: {"@type": f"{TYPES}.config.route.v3.FilterConfig", "config": {}}
                        },
                        "direct_response": {"status": 503},
                    },
                    {
                        "name": "calls",
                        "match": {"prefix": "/"},
                        "route": {
                            "inline_cluster_specifier_plugin": {"extension": _cluster_specifier()},
                            "auto_host_rewrite": True,
                            "hash_policy": [{"filter_state": {"key": FILTER_STATE_HASH}}],
                        },
                    },
                ],
            }
        ],
    }


def longest_timeouts(routes: Sequence[ModelRoute]) -> Timeouts:
    """The longest of each; the defaults where there are none."""
    timeouts = [route.timeouts for route in routes]
    return Timeouts(
        request_seconds=max((each.request_seconds for each in timeouts), default=Timeouts().request_seconds),
        idle_seconds=max((each.idle_seconds for each in timeouts), default=Timeouts().idle_seconds),
    )


def _cluster_specifier() -> dict[str, Any]:
    return {
        "name": FILTER,
        "typed_config": {
            # Not by its own type, which Python's definitions of Envoy's do not have.
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": f"{TYPES}.extensions.router.cluster_specifiers.dynamic_modules.v3."
            "DynamicModuleClusterSpecifier",
            "value": {
                "dynamic_module_config": {"name": FILTER, "do_not_close": True},
                "specifier_name": FILTER,
                "route_action_overrides": {
                    # An engine that loads or is full answers 503 without having begun.
                    "here": {
                        "retry_policy": {
                            **_retry_policy(f"{_RETRY_ON},retriable-status-codes"),
                            "retriable_status_codes": [503],
                        }
                    },
                    # A 503 of another region's gateway is its answer, after retries of its own; and that of an engine
                    # to a call that fell back here goes to the gateway which it came from.
                    "elsewhere": {"retry_policy": _retry_policy(_RETRY_ON)},
                },
            },
        },
    }


def _retry_policy(retry_on: str) -> dict[str, Any]:
    return {
        "retry_on": retry_on,
        "num_retries": _RETRIES,
        # The module is asked where to go on.
        "refresh_cluster_on_retry": True,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                },
            }
        ],
        # Of a large pool the same host may be picked again and again before another one.
        "host_selection_retry_max_attempts": 20,
    }
