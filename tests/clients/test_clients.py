"""OpenAI's clients and LangChain's against the gateway, each as it comes from its registry."""

import re
from typing import Any

import pytest

from tests.clients.conftest import CLIENTS, Reports

ULID = re.compile(r"chatcmpl_[0-7][0-9A-HJKMNP-TV-Z]{25}")
MODEL = "acme/full"
# Class, status, code and param. Where OpenAI's clients have no class for a status they raise the one that all are.
PLAIN = ("APIStatusError", "APIError")
ERRORS: dict[str, tuple[tuple[str, ...], int, str, str | None]] = {
    "unknown model": (("NotFoundError",), 404, "model_not_found", "model"),
    "model elsewhere": (("NotFoundError",), 404, "model_not_available_in_region", "model"),
    "unknown region": (("BadRequestError",), 400, "unknown_region", "X-Tomoul-Region"),
    "tools of a model without": (("BadRequestError",), 400, "unsupported_parameter", "tools"),
    "no JSON": (PLAIN, 415, "unsupported_media_type", "Content-Type"),
    "unknown key": (("AuthenticationError",), 401, "invalid_api_key", None),
    "key for elsewhere": (("PermissionDeniedError",), 403, "region_not_permitted", "X-Tomoul-Region"),
    "key over its limit": (("RateLimitError",), 429, "rate_limit_exceeded", None),
    "too large": (PLAIN, 413, "request_too_large", None),
    # An engine's, which no client could do anything about.
    "401": (("InternalServerError",), 502, "engine_failed", None),
    "403": (("InternalServerError",), 502, "engine_failed", None),
    "422": (("UnprocessableEntityError",), 422, "invalid_request", None),
    "429": (("RateLimitError",), 429, "rate_limit_exceeded", None),
    "500": (("InternalServerError",), 500, "engine_failed", None),
    "no capacity": (("InternalServerError",), 503, "region_capacity_unavailable", None),
    "engine gone": (("InternalServerError",), 502, "engine_failed", None),
    "engine gone in a stream": (("InternalServerError",), 502, "engine_failed", None),
    "too slow": (("InternalServerError",), 504, "timeout", None),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def report(reports: Reports, client: str) -> Any:
    return reports.of(client)


def test_the_clients_are_of_the_versions_that_their_names_say(reports: Reports) -> None:
    assert reports.of("openai-2")["version"].startswith("2.")
    assert int(reports.of("openai")["version"].split(".")[0]) >= 3


def test_a_client_reads_a_completion_and_the_gateways_headers(report: Any) -> None:
    answer = report["completion"]
    assert (answer["text"], answer["finish_reason"], answer["tokens"]) == ("Hello", "stop", 7)
    assert answer["refusal"] is None
    assert ULID.fullmatch(answer["id"])
    assert answer["region"] == "eu-west"
    assert answer["request_id"]


def test_a_client_reads_the_models_public_id_in_every_answer(report: Any) -> None:
    assert report["completion"]["model"] == MODEL
    for kind in ("stream", "stream with usage"):
        assert report[kind]["models"] == [MODEL]


def test_a_client_reads_a_stream_under_one_id_and_without_usage(report: Any) -> None:
    stream = report["stream"]
    assert (stream["text"], stream["finish_reason"], stream["tokens"]) == ("Hello", "stop", [])
    if "ids" in stream:
        [only] = stream["ids"]
        assert ULID.fullmatch(only)


def test_a_client_that_asks_reads_a_streams_usage(report: Any) -> None:
    stream = report["stream with usage"]
    assert (stream["text"], stream["tokens"]) == ("Hello", [7])


@pytest.mark.parametrize("kind", ["tools", "tools in a stream"])
def test_a_client_reads_a_tool_call(report: Any, kind: str) -> None:
    assert report[kind]["name"].lower().replace("_", "") == "getweather"
    assert report[kind]["arguments"] == {"city": "Paris"}


def test_a_client_parses_an_answer_into_a_type_of_its_own(report: Any) -> None:
    assert report["parse"] == {"city": "Paris", "capital": True}


@pytest.mark.parametrize("client", [client for client in CLIENTS if client.startswith("openai")], indirect=True)
def test_a_client_lists_models_and_finds_one_by_an_id_with_a_slash(report: Any) -> None:
    assert MODEL in report["models"]["listed"]
    assert report["models"]["one"] == MODEL


@pytest.mark.parametrize("case", ERRORS)
def test_a_client_raises_the_class_of_the_error_with_its_code_and_param(report: Any, case: str) -> None:
    error = report["errors"][case]
    classes, *expected = ERRORS[case]
    assert error["class"] in classes
    assert [error["status"], error["code"], error["param"]] == expected
    if "type" in error:
        kind = "server_error" if error["status"] >= 500 else "invalid_request_error"
        assert error["type"] == ("requests" if case == "key over its limit" else kind)
        assert error["request_id"]


def test_a_client_raises_where_a_stream_breaks_off(report: Any) -> None:
    assert report["errors"]["engine cut in mid-stream"] is not None
    assert report["errors"]["engine stopped in mid-stream"] == {"class": "APIError", "code": "engine_failed"}


def test_a_client_waits_as_long_as_it_is_told_and_tries_again(report: Any) -> None:
    for case in ("busy", "limited"):
        assert report["retries"][case]["outcome"] == "Hello"
        assert report["retries"][case]["seconds"] >= 1


def test_a_client_does_not_try_again_where_that_does_not_help(reports: Reports, report: Any, client: str) -> None:
    assert report["retries"]["too slow"]["outcome"] == "timeout"
    assert reports.engine.calls[client, "sleep patiently"] == 1
