"""`GET /v1/models`, and paths and methods that are not there."""

from typing import Any

import pytest

from tests.gateway.two_regions import Platform
from tests.gateway.wire import call

BOTH = {
    "id": "acme/both",
    "object": "model",
    "created": 1700000000,
    "owned_by": "acme",
    "capabilities": {"tools": False, "structured_output": False, "json_mode": False, "seed": "best_effort"},
    "regions": ["eu-west", "us-east"],
}


def test_models_are_listed_in_openais_shape_with_capabilities_and_regions(platform: Platform) -> None:
    answer = call(platform.eu.port, "/v1/models")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    listed = answer.json()
    assert listed["object"] == "list"
    by_id = {card["id"]: card for card in listed["data"]}
    assert by_id["acme/both"] == BOTH
    assert by_id["acme/full"]["capabilities"] == {
        "tools": True, "structured_output": True, "json_mode": True, "seed": "deterministic"
    }  # fmt: skip
    assert by_id["acme/us-only"]["regions"] == ["us-east"]
    assert list(by_id) == sorted(by_id)


@pytest.mark.parametrize("path", ["acme/both", "acme%2Fboth", "acme%2fboth", "both", "acme/both?x=1"])
def test_one_model_is_found_by_its_id_with_slashes_escaped_or_not_and_by_an_alias(
    platform: Platform, path: str
) -> None:
    answer = call(platform.eu.port, f"/v1/models/{path}")
    assert (answer.status, answer.json()) == (200, BOTH)


@pytest.mark.parametrize("path", ["acme/none", "", "acme", "acme%2F", "acme%00", "%", "%zz", "acme/both/", "%ff%fe"])
def test_an_unknown_model_is_404(platform: Platform, path: str) -> None:
    answer = call(platform.eu.port, f"/v1/models/{path}")
    assert answer.status in (400, 404)
    assert answer.error["code"] == ("model_not_found" if answer.status == 404 else "invalid_request")


def test_models_of_another_region_are_that_regions_to_tell(platform: Platform) -> None:
    answer = call(platform.eu.port, "/v1/models", headers=[("x-tomoul-region", "us-east")])
    assert answer.header("x-tomoul-region") == "us-east"
    assert "acme/off" not in {card["id"] for card in answer.json()["data"]}


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/completions", "/v1/chat/completions/", "/v1/modelsx", "/healthz", "/stats"]
)
def test_a_path_that_is_not_there_is_404(platform: Platform, path: str) -> None:
    answer = call(platform.eu.port, path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert f"`{path}`" in answer.error["message"]
    assert "`/v1/chat/completions`" in answer.error["message"]
    assert answer.header("x-tomoul-region") == "eu-west"


def test_a_path_is_normalised_before_it_is_judged(platform: Platform) -> None:
    assert call(platform.eu.port, "/v1/x/../models").status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models/acme/both", "GET"),
        ("POST", "/v1/models", "GET"),
        ("TRACE", "/v1/models", "GET"),
    ],
)
def test_another_method_is_405_and_names_the_one_that_is_allowed(
    platform: Platform, method: str, path: str, allowed: str
) -> None:
    answer = call(platform.eu.port, path, method=method)
    assert (answer.status, answer.error["code"], answer.header("allow")) == (405, "method_not_allowed", allowed)


@pytest.mark.parametrize(("method", "body"), [("FROBNICATE", {}), ("FROBNICATE", None), ("post", {}), ("QUERY", None)])
def test_a_method_that_envoys_codec_does_not_take_is_400_in_openais_shape(
    platform: Platform, method: str, body: Any
) -> None:
    """To a QUERY it answers so without the content type that such a request must have."""
    answer = call(platform.eu.port, body=body, method=method)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")


def test_ready_says_200_once_there_is_a_configuration(platform: Platform) -> None:
    assert call(platform.eu.port, "/-/ready").status == 200
