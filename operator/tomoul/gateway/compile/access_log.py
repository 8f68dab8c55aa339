"""The access log: one line of JSON per call on Envoy's standard output; neither prompts, answers nor keys.

docs/usage.md tells what a reader may rely on.
"""

import json
from typing import Any

from tomoul.gateway.compile.names import HEADER_CODE, HEADER_REGION, HOST_METADATA, LOG_METADATA, TYPES


def noted(key: str) -> str:
    """What the filter noted under `key`, a path whose parts are separated by colons."""
    return f"%DYNAMIC_METADATA({LOG_METADATA}:{key})%"


def _first_of(*operators: tuple[str, str]) -> str:
    listed = [{"command": command, "param": param} for command, param in operators]
    return f"%COALESCE({json.dumps({'operators': listed})})%"


TENANT = noted("tenant")
"""Whose key the call came with; `anonymous` where none is asked for."""
CODE = _first_of(("DYNAMIC_METADATA", f"{LOG_METADATA}:code"), ("RESP", HEADER_CODE))
"""Code of the error. The filter does not see what was never a request; its code is still in the header."""
REGION = _first_of(
    ("RESP", HEADER_REGION),
    ("UPSTREAM_METADATA", f"{HOST_METADATA}:region"),
    ("METADATA", f"LISTENER:{LOG_METADATA}:region"),
)
"""The region that answered, or that was to answer a client that did not wait."""
SERVED = f"%UPSTREAM_METADATA({HOST_METADATA}:kind)%"
"""`pool` for a call that an engine here took, `region` for one that another region's gateway took."""

POOL = f"%UPSTREAM_METADATA({HOST_METADATA}:pool)%"
"""`canary` for a call that a canary answered."""


def access_log() -> list[dict[str, Any]]:
    """AccessLog entries; a kubelet's probes are left out."""
    fields = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "request_id": "%STREAM_ID%",
        "method": "%REQ(:METHOD)%",
        # Only paths that the filter knows: any other could carry what does not belong into a log.
        "path": noted("path"),
        "tenant": TENANT,
        "model": noted("model"),
        "pin": noted("pin"),
        "cache": noted("cache"),
        "code": CODE,
        "region": REGION,
        "served": SERVED,
        "status": "%RESPONSE_CODE%",
        "prompt_tokens": noted("prompt_tokens"),
        "completion_tokens": noted("completion_tokens"),
        "cached_tokens": noted("cached_tokens"),
        "ttft_ms": noted("ttft_ms"),
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
                "log_format": {"json_format": fields},
            },
        }
    ]
