"""EndpointSlices → endpoints."""

from typing import Any

from tomoul.gateway.agent.slices import endpoints_by_pool, pool_slice
from tomoul.gateway.compile.resources import Endpoint, PoolKey

POOL = PoolKey("models", "phi")


def a_slice(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "s", "namespace": "models", "labels": {"kubernetes.io/service-name": "phi"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000}],
        "endpoints": list(endpoints),
    } | fields


def an_endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def of(*slices: dict[str, Any]) -> Any:
    return endpoints_by_pool(map(pool_slice, slices))


def test_ready_endpoints_belong_to_the_pool_of_their_service() -> None:
    assert of(a_slice(an_endpoint("10.0.0.1", ready=True))) == {POOL: (Endpoint("10.0.0.1", 8000),)}


def test_endpoints_that_are_not_ready_or_on_their_way_out_are_left_out() -> None:
    assert (
        of(
            a_slice(
                an_endpoint("10.0.0.1", ready=False),
                an_endpoint("10.0.0.2", ready=False, serving=True, terminating=True),
                an_endpoint("10.0.0.3", ready=True, terminating=True),
            )
        )
        == {}
    )


def test_an_endpoint_that_says_nothing_of_its_readiness_is_ready() -> None:
    assert of(a_slice({"addresses": ["10.0.0.1"]})) == {POOL: (Endpoint("10.0.0.1", 8000),)}


def test_several_slices_of_a_service_are_one_pool_and_each_address_counts_once() -> None:
    first = a_slice(an_endpoint("10.0.0.2"), an_endpoint("10.0.0.1"))
    second = a_slice(an_endpoint("10.0.0.2"), an_endpoint("10.0.0.3"))
    assert [endpoint.address for endpoint in of(first, second)[POOL]] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_the_port_named_http_is_taken_before_others_and_the_first_where_none_has_that_name() -> None:
    named = [{"name": "metrics", "port": 9000}, {"name": "http", "port": 8000}]
    others = [{"name": "metrics", "port": 9000}, {"name": "other", "port": 8000}]
    assert of(a_slice(an_endpoint("10.0.0.1"), ports=named))[POOL][0].port == 8000
    assert of(a_slice(an_endpoint("10.0.0.1"), ports=others))[POOL][0].port == 9000
    assert of(a_slice(an_endpoint("10.0.0.1"), ports=None)) == {}


def test_slices_of_host_names_or_of_no_service_are_left_out() -> None:
    no_service = {"metadata": {"name": "s", "namespace": "models"}}
    assert of(a_slice(an_endpoint("example.org"), addressType="FQDN")) == {}
    assert of(a_slice(an_endpoint("10.0.0.1"), **no_service)) == {}
    assert of(a_slice(an_endpoint("fd00::1"), addressType="IPv6"))[POOL][0].address == "fd00::1"


def test_an_empty_slice_as_the_controller_writes_it_is_no_endpoint() -> None:
    assert of(a_slice(endpoints=None, ports=None)) == {}
