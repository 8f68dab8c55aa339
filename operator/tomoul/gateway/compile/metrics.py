"""Prometheus metrics of calls, on the gateway's /stats/prometheus under the prefix `envoy_tomoul_`: docs/usage.md."""

from collections.abc import Mapping
from typing import Any

from tomoul.gateway.compile.access_log import CODE, POOL, REGION, SERVED, TENANT, noted
from tomoul.gateway.compile.names import LOG_METADATA, TYPES

_METERED: Mapping[str, str] = {"model": noted("model"), "region": REGION, "tenant": TENANT}
_CALLS = {**_METERED, "status": "%RESPONSE_CODE%", "code": CODE, "served": SERVED, "flags": "%RESPONSE_FLAGS%"}
# Of their own, since as labels of the calls they would make four times as many series.
_PINNED = {"pin": noted("pin"), "status": "%RESPONSE_CODE%", "code": CODE, "served": SERVED}
_TRIAL = {"model": noted("model"), "region": REGION, "trial": noted("trial")}
_TRIAL_CALLS = {**_TRIAL, "answered_by": POOL, "status": "%RESPONSE_CODE%", "code": CODE}
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
        _logger("trial", counters=[_stat("trial_calls_total", _TRIAL_CALLS, value_fixed=1)]),
        _logger("trial", also="ttft_ms", histograms=[_histogram("trial_ttft_ms", noted("ttft_ms"), _TRIAL)]),
        *tokens,
        _logger("ttft_ms", histograms=[_histogram("ttft_ms", noted("ttft_ms"))]),
        _logger("served", histograms=[_histogram("duration_ms", "%DURATION%")]),
    ]


def _logger(told: str | None, exactly: str = "", also: str = "", **stats: Any) -> dict[str, Any]:
    """A logger of calls for which the filter noted `told`, or just that value of it, and `also`.

    Envoy complains of a value that is missing.
    """
    chosen: dict[str, Any] = {"not_health_check_filter": {}}
    if told:
        chosen = _noted_filter(told, {"string_match": {"exact": exactly}} if exactly else {"present_match": True})
    if also:
        chosen = {"and_filter": {"filters": [chosen, _noted_filter(also, {"present_match": True})]}}
    return {
        "name": "envoy.access_loggers.stats",
        "filter": chosen,
        "typed_config": {
            # Not by its own type, since Python's definitions of it are older than `stats_scope`.
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": f"{TYPES}.extensions.access_loggers.stats.v3.Config",
            "value": {"stats_scope": {"prefix": "tomoul"}, **stats},
        },
    }


def _noted_filter(key: str, value: dict[str, Any]) -> dict[str, Any]:
    matcher = {"filter": LOG_METADATA, "path": [{"key": key}], "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _stat(name: str, tags: Mapping[str, str], **value: Any) -> dict[str, Any]:
    listed = [{"name": tag, "value_format": value_format} for tag, value_format in tags.items()]
    return {"stat": {"name": name, "tags": listed}, **value}


def _histogram(name: str, value_format: str, tags: Mapping[str, str] = _METERED) -> dict[str, Any]:
    return _stat(name, tags, value_format=value_format, unit="Milliseconds")
