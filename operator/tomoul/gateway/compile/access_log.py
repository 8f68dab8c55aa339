"""The access log: one line of JSON per call on Envoy's standard output; neither prompts, answers nor keys."""

from typing import Any

from tomoul.gateway.compile.names import HEADER_REGION, LOG_METADATA, TYPES


def access_log() -> list[dict[str, Any]]:
    """AccessLog entries; a kubelet's probes are left out."""

    def told_by_lua(key: str) -> str:
        return f"%DYNAMIC_METADATA({LOG_METADATA}:{key})%"

    fields = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "request_id": "%STREAM_ID%",
        "method": "%REQ(:METHOD)%",
        # Only paths that chat.lua knows: any other could carry what does not belong into a log.
        "path": told_by_lua("path"),
        "model": told_by_lua("model"),
        "pin": told_by_lua("pin"),
        "cache": told_by_lua("cache"),
        "code": told_by_lua("code"),
        "region": f"%RESP({HEADER_REGION})%",
        "status": "%RESPONSE_CODE%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
        "request_bytes": "%BYTES_RECEIVED%",
        "response_bytes": "%BYTES_SENT%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "upstream": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
    }
    return [
        {
            "name": "envoy.access_loggers.stdout",
            "filter": {"not_health_check_filter": {}},
            "typed_config": {
                "@type": f"{TYPES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": {"json_format": fields, "omit_empty_values": True},
            },
        }
    ]
