"""Envoy's own errors in OpenAI's shape; what the filter answers passes as it is."""

import json
from typing import Any

from tomoul.gateway.compile.names import FILTER, HEADER_CODE, HEADER_REGION, TYPES

RETRY_AFTER_SECONDS = 30
"""What clients are told to wait where a region has nothing ready."""

_ENVOYS_WORD = "%RESPONSE_CODE_DETAILS%"
"""Which rule a request broke, such as `http1.unexpected_underscore`: names of Envoy's, never a client's text."""

# Response flags, by what they mean to a client.
_NO_CAPACITY = ("UH", "UF", "UO", "NC", "URX", "OM")
_BROKEN_OFF = ("UC", "UR", "LR", "UPE")
_TOO_SLOW = ("UT", "DT", "SI", "UMSDR")


def local_reply_config(region: str) -> dict[str, Any]:
    """LocalReplyConfig of a gateway of `region`. Of the mappers the first that matches decides."""
    return {
        "mappers": [
            {"filter": {"or_filter": {"filters": [_details("tomoul"), _status("LE", 399)]}}},
            # 408 carries the flag SI as well where the client, not the engine, was too slow.
            _mapper(_status("EQ", 408), region, "request_timeout", "The request took too long to arrive"),
            # Memory is nearly used up: Envoy makes a 500 of a body that goes on to arrive then.
            *(
                _mapper(
                    matches,
                    region,
                    "region_capacity_unavailable",
                    "The region cannot take the call now",
                    status=503,
                    retry_after=True,
                )
                for matches in (_flags(_NO_CAPACITY), _details("overload"))
            ),
            _mapper(_flags(_BROKEN_OFF), region, "engine_failed", "The engine broke off the call", status=502),
            _mapper(_flags(_TOO_SLOW), region, "timeout", "The engine took too long", status=504),
            _mapper(_status("EQ", 404), region, "not_found", "There is nothing at this path"),
            _mapper(_status("EQ", 413), region, "request_too_large", "The request body is too large"),
            _mapper(_status("EQ", 431), region, "request_too_large", "The request headers are too large"),
            # Envoy's word for a Transfer-Encoding that is not `chunked`.
            _mapper(_status("EQ", 501), region, "invalid_request", "The request has a transfer coding but `chunked`"),
            _mapper(
                _status("LE", 499),
                region,
                "invalid_request",
                f"The request is not HTTP that this gateway takes: {_ENVOYS_WORD}",
            ),
            _mapper(_status("GE", 500), region, "internal_error", "The gateway failed"),
        ]
    }


def _mapper(
    matches: dict[str, Any], region: str, code: str, message: str, *, status: int = 0, retry_after: bool = False
) -> dict[str, Any]:
    kind = "server_error" if code in _SERVER_CODES else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = json.dumps({"error": error}, separators=(",", ":"))
    headers = {
        HEADER_REGION: region,
        HEADER_CODE: code,
        **({"retry-after": str(RETRY_AFTER_SECONDS)} if retry_after else {}),
        **({"x-should-retry": "false"} if code not in _WORTH_A_RETRY else {}),
    }
    mapper: dict[str, Any] = {
        "filter": matches,
        "body_format_override": {
            "text_format_source": {"inline_string": body},
            "content_type": "application/json",
        },
        "headers_to_add": [
            *(
                {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                for key, value in headers.items()
            ),
            *_ALLOWANCE,
            _REQUEST_ID,
        ],
    }
    if status:
        mapper["status_code"] = status
    return mapper


# What is left of a tenant's requests, of a call that is counted among them: filter/admission.zig. Without it no header.
_ALLOWANCE = [
    {
        "header": {"key": name, "value": f"%DYNAMIC_METADATA({FILTER}:{name})%"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    for name in (f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset"))
]

# For what Envoy refuses before it has read a request's head. The id of a request that it has read takes its place.
_REQUEST_ID = {"header": {"key": "x-request-id", "value": "%UNIQUE_ID%"}, "append_action": "ADD_IF_ABSENT"}

# For all others OpenAI's clients are told not to try again: the same call would end the same way, and one that was too
# slow would cost its engine as much once more.
_WORTH_A_RETRY = frozenset({"region_capacity_unavailable", "engine_failed", "request_timeout", "internal_error"})
_SERVER_CODES = frozenset({"region_capacity_unavailable", "engine_failed", "timeout", "internal_error"})


def _details(word: str) -> dict[str, Any]:
    """Envoy's own word for why it answers, or the filter's for its own."""
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": f"{TYPES}.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": f'response.code_details == "{word}"',
            },
        }
    }


def _flags(flags: tuple[str, ...]) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": list(flags)}}


def _status(operator: str, status: int) -> dict[str, Any]:
    # Envoy wants a runtime key beside the number; nothing sets it.
    value = {"default_value": status, "runtime_key": f"tomoul.local_reply.{operator.lower()}_{status}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}
