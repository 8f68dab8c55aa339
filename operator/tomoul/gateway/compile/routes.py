"""The RouteConfiguration: one virtual host with all that chat.lua knows, and one route per set of timeouts."""

from collections.abc import Iterable, Mapping
from typing import Any

from tomoul.api.modeldeployment import Timeouts
from tomoul.gateway.compile.models import timeouts_key
from tomoul.gateway.compile.names import HEADER_CLUSTER, HEADER_TIMEOUTS, LUA_FILTER, ROUTE_CONFIGURATION, TYPES
from tomoul.gateway.compile.resources import EnvoyResource

# A call that the engine may have begun is never sent twice: only what failed before its first byte was sent.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
_RETRIES = 2


def route_configuration(metadata: Mapping[str, Any], timeouts: Iterable[Timeouts]) -> EnvoyResource:
    """Routes for `metadata` (chat.lua's, by key) and the `timeouts` that models have.

    chat.lua names the cluster, and through `timeouts_key` the route; the last route takes calls for other regions,
    whose gateways keep their models' timeouts themselves, so that here the longest apply.
    """
    distinct = sorted(set(timeouts), key=lambda each: (each.request_seconds, each.idle_seconds))
    longest = Timeouts(
        request_seconds=max((each.request_seconds for each in distinct), default=Timeouts().request_seconds),
        idle_seconds=max((each.idle_seconds for each in distinct), default=Timeouts().idle_seconds),
    )
    routes = [_route(each, key=timeouts_key(each)) for each in distinct]
    return {
        "name": ROUTE_CONFIGURATION,
        "virtual_hosts": [
            {
                "name": "gateway",
                "domains": ["*"],
                "metadata": {"filter_metadata": {LUA_FILTER: dict(metadata)}},
                "routes": [*routes, _route(longest, key=None)],
            }
        ],
    }


def _route(timeouts: Timeouts, key: str | None) -> dict[str, Any]:
    retry: dict[str, Any] = {
        "retry_on": _RETRY_ON if key is None else f"{_RETRY_ON},retriable-status-codes",
        "num_retries": _RETRIES,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{TYPES}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }
    match: dict[str, Any] = {"prefix": "/"}
    if key is not None:
        match["headers"] = [{"name": HEADER_TIMEOUTS, "string_match": {"exact": key}}]
        # An engine that loads or is full answers 503 without having begun.
        retry["retriable_status_codes"] = [503]
    return {
        "name": f"timeouts/{key}" if key else "elsewhere",
        "match": match,
        "route": {
            "cluster_header": HEADER_CLUSTER,
            "auto_host_rewrite": True,
            "timeout": f"{timeouts.request_seconds}s",
            "idle_timeout": f"{timeouts.idle_seconds}s",
            "retry_policy": retry,
        },
    }
