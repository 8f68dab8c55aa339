from typing import Any

import httpx
import pytest

from tests.contract.calls import BARE, CHAT, HERE, SOLO, THERE, error_of, post

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("X-Tomoul-Region", "mars")], "unknown_region"),
        ([("X-Tomoul-Region", "EU-WEST")], "invalid_region"),
        ([("X-Tomoul-Region", "")], "invalid_region"),
        ([("X-Tomoul-Region", "eu-west,us-east")], "invalid_region"),
        ([("X-Tomoul-Region", HERE), ("X-Tomoul-Region", THERE)], "invalid_region"),
        ([("X-Tomoul-Region", HERE), ("X-Tomoul-Region", HERE)], "invalid_region"),
    ],
)
def test_a_region_that_is_none_is_refused_with_400(
    http: httpx.Client, headers: list[tuple[str, str]], code: str
) -> None:
    response = post(http, headers=headers)
    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == code
    assert error["param"] == "X-Tomoul-Region"


def test_a_pin_to_a_region_without_the_model_is_404_with_the_regions_that_have_it(http: httpx.Client) -> None:
    response = post(http, {"model": SOLO}, {"X-Tomoul-Region": THERE})
    assert response.status_code == 404
    error = error_of(response)
    assert error["code"] == "model_not_available_in_region"
    assert error["available_regions"] == [HERE]
    assert response.headers["x-tomoul-region"] == THERE


def test_an_unpinned_call_for_a_model_of_another_region_without_fallback_is_404(platform: Any) -> None:
    with httpx.Client(base_url=platform.platform.gateways[THERE].url) as there:
        response = post(there, {"model": SOLO})
    assert response.status_code == 404
    assert error_of(response)["available_regions"] == [HERE]


@pytest.mark.parametrize("region", [None, HERE, THERE])
def test_an_unknown_model_is_404_in_every_region(http: httpx.Client, region: str | None) -> None:
    response = post(http, {"model": "no/such"}, {"X-Tomoul-Region": region} if region else {})
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (SOLO, "tools", [TOOL]),
        (BARE, "tools", [TOOL]),
        (BARE, "response_format", SCHEMA),
        (BARE, "response_format", {"type": "json_object"}),
        (SOLO, "n", 2),
    ],
)
def test_what_a_model_does_not_advertise_is_refused_with_the_parameter(
    http: httpx.Client, model: str, field: str, value: Any
) -> None:
    response = post(http, {"model": model, field: value})
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)


def test_no_store_on_a_model_that_refuses_it_is_400(http: httpx.Client) -> None:
    response = post(http, {"model": SOLO}, {"X-Tomoul-Cache": "no-store"})
    assert response.status_code == 400
    assert error_of(response)["code"] == "cache_policy_unsatisfiable"


def test_an_unknown_cache_directive_is_400(http: httpx.Client) -> None:
    response = post(http, headers={"X-Tomoul-Cache": "no-cache"})
    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_cache_directive"


def test_an_engines_own_refusal_comes_in_openais_shape(http: httpx.Client) -> None:
    response = post(http, {"messages": [{"role": "user"}]})
    assert 400 <= response.status_code < 500
    assert response.headers["x-tomoul-region"] == HERE
    error_of(response)


def test_a_prompt_beyond_the_context_window_is_refused_in_openais_shape(http: httpx.Client) -> None:
    response = post(http, {"messages": [{"role": "user", "content": "sea " * 5000}]})
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"
    assert error_of(response)["code"] == "context_length_exceeded"


@pytest.mark.parametrize("region", [None, THERE])
def test_a_path_that_does_not_exist_is_404_in_openais_shape(http: httpx.Client, region: str | None) -> None:
    headers = {"X-Tomoul-Region": region} if region else {}
    response = http.post("/v1/embeddings", json={"model": CHAT, "input": "x"}, headers=headers)
    assert response.status_code == 404
    error_of(response)
