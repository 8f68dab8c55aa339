"""The RouteConfiguration: a route per pair of timeouts, found by key; the filter names the cluster and the key.

It grows with the timeouts in use, not with the models, and changes only with them.
"""

from collections.abc import Sequence
from typing import Any

from tomoul.api.routing import Timeouts
from tomoul.api.routingtable import ModelRoute
from tomoul.gateway.compile.names import (
    FILTER_STATE_HASH,
    HEADER_CLUSTER,
    HEADER_ROUTE,
    ROUTE_CONFIGURATION,
    TYPES,
    timeouts_route,
)
from tomoul.gateway.compile.resources import EnvoyResource

# A call that the engine may have begun is never sent twice: only what failed before its first byte was sent.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
_RETRIES = 2


def route_key(route: ModelRoute) -> str:
    """Key of a model's route."""
    return timeouts_route(route.timeouts.request_seconds, route.timeouts.idle_seconds)


def route_configuration(routes: Sequence[ModelRoute]) -> EnvoyResource:
    """Routes for the models of `routes`.

    What no key finds are calls for other regions: their gateways keep their models' timeouts themselves, so that here
    the longest apply.
    """
    found = {route_key(route): _route(route_key(route), route.timeouts) for route in routes}
    elsewhere = _route("elsewhere", _longest([route.timeouts for route in routes]))
    # A 503 of another region's gateway is its answer, after retries of its own.
    elsewhere["route"]["retry_policy"] = _retry_policy(_RETRY_ON)
    by_key = {"exact_match_map": {"map": {key: _action(found[key]) for key in sorted(found)}}}
    return {
        "name": ROUTE_CONFIGURATION,
        "virtual_hosts": [
            {
                "name": "gateway",
                "domains": ["*"],
                # An engine that loads or is full answers 503 without having begun.
                "retry_policy": {
                    **_retry_policy(f"{_RETRY_ON},retriable-status-codes"),
                    "retriable_status_codes": [503],
                },
                "matcher": {
                    **({"matcher_tree": {"input": _key_input(), **by_key}} if found else {}),
                    "on_no_match": _action(elsewhere),
                },
            }
        ],
    }


def _key_input() -> dict[str, Any]:
    return {
        "name": "route",
        "typed_config": {"@type": f"{TYPES}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": HEADER_ROUTE},
    }


def _action(route: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": f"{TYPES}.config.route.v3.Route", **route}
    return {"action": {"name": route["name"], "typed_config": typed}}


def _route(name: str, timeouts: Timeouts) -> dict[str, Any]:
    return {
        "name": name,
        "match": {"prefix": "/"},
        "route": {
            "cluster_header": HEADER_CLUSTER,
            "auto_host_rewrite": True,
            "hash_policy": [{"filter_state": {"key": FILTER_STATE_HASH}}],
            "timeout": f"{timeouts.request_seconds}s",
            "idle_timeout": f"{timeouts.idle_seconds}s",
        },
    }


def _longest(timeouts: Sequence[Timeouts]) -> Timeouts:
    """The longest of each; the defaults where there are none."""
    return Timeouts(
        request_seconds=max((each.request_seconds for each in timeouts), default=Timeouts().request_seconds),
        idle_seconds=max((each.idle_seconds for each in timeouts), default=Timeouts().idle_seconds),
    )


def _retry_policy(retry_on: str) -> dict[str, Any]:
    return {
        "retry_on": retry_on,
        "num_retries": _RETRIES,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                },
            }
        ],
        # A ring may name the same host again and again before another one.
        "host_selection_retry_max_attempts": 20,
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{TYPES}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }
