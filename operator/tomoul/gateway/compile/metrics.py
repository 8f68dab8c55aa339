"""Prometheus metrics of calls, on the gateway's /stats/prometheus under the prefix `envoy_tomoul_`: docs/usage.md."""

from collections.abc import Mapping
from typing import Any

from tomoul.gateway.compile.access_log import CODE, REGION, SERVED, TENANT, noted
from tomoul.gateway.compile.names import LOG_METADATA, TYPES

_METERED: Mapping[str, str] = {"model": noted("model"), "region": REGION, "tenant": TENANT}
_CALLS = {**_METERED, "status": "%RESPONSE_CODE%", "code": CODE, "served": SERVED, "flags": "%RESPONSE_FLAGS%"}
# Of their own, since as labels of the calls they would make four times as many series.
_PINNED = {"pin": noted("pin"), "status": "%RESPONSE_CODE%", "code": CODE, "served": SERVED}
_NO_STORE = {"model": noted("model"), "region": REGION, "code": CODE, "served": SERVED}


def metrics() -> list[dict[str, Any]]:
    """AccessLog entries that count each call once it is over; tokens and times only where they are known."""
    tokens = [
        _logger(name, counters=[_stat(f"{name}_total", _METERED, value_format=noted(name))])
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
    ]
    return [
        _logger(None, counters=[_stat("calls_total", _CALLS, value_fixed=1)]),
        _logger("pin", counters=[_stat("pinned_calls_total", _PINNED, value_fixed=1)]),
        _logger("cache", "no-store", counters=[_stat("no_store_calls_total", _NO_STORE, value_fixed=1)]),
        *tokens,
        _logger("ttft_ms", histograms=[_histogram("ttft_ms", noted("ttft_ms"))]),
        _logger("served", histograms=[_histogram("duration_ms", "%DURATION%")]),
    ]


def _logger(told: str | None, exactly: str = "", **stats: Any) -> dict[str, Any]:
    """A logger of calls for which the filter noted `told`, or just that value of it.

    Envoy complains of a value that is missing.
    """
    health_check: dict[str, Any] = {"not_health_check_filter": {}}
    path = [{"key": key} for key in told.split(":")] if told else []
    value = {"string_match": {"exact": exactly}} if exactly else {"present_match": True}
    matcher = {"filter": LOG_METADATA, "path": path, "value": value}
    return {
        "name": "envoy.access_loggers.stats",
        "filter": {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}} if told else health_check,
        "typed_config": {
            # Not by its own type, since Python's definitions of it are older than `stats_scope`.
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": f"{TYPES}.extensions.access_loggers.stats.v3.Config",
            "value": {"stats_scope": {"prefix": "tomoul"}, **stats},
        },
    }


def _stat(name: str, tags: Mapping[str, str], **value: Any) -> dict[str, Any]:
    listed = [{"name": tag, "value_format": value_format} for tag, value_format in tags.items()]
    return {"stat": {"name": name, "tags": listed}, **value}


def _histogram(name: str, value_format: str) -> dict[str, Any]:
    return _stat(name, _METERED, value_format=value_format, unit="Milliseconds")
