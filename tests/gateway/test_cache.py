"""The prompt cache: salts, and what `X-Tomoul-Cache: no-store` gets."""

from base64 import urlsafe_b64decode

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.keys import derived
from tests.gateway.two_regions import Platform
from tests.gateway.wire import call


def salts(platform: Platform, engine: str) -> list[str | None]:
    return [request.json().get("cache_salt") for request in platform.engines[engine].received]


def test_calls_of_a_tenant_share_one_salt_per_model_that_only_the_gateway_can_make(
    platform: Platform, chat: Chat
) -> None:
    for _ in range(2):
        assert chat("acme/both").status == 200
    expected = derived("anonymous", "acme/both")
    assert salts(platform, "both") == [expected, expected]


def test_a_client_cannot_choose_its_salt(platform: Platform, chat: Chat) -> None:
    chat("acme/both")
    chat("acme/both", cache_salt="somebody else's")
    first, second = salts(platform, "both")
    assert first == second != "somebody else's"


def test_a_shared_cache_has_a_salt_without_a_tenant(platform: Platform, chat: Chat) -> None:
    assert chat("acme/shared").status == 200
    assert salts(platform, "shared") == [derived("", "acme/shared")]


def test_pods_of_former_revisions_get_the_salt_in_their_own_fields_and_none_of_these_is_a_clients(
    platform: Platform, chat: Chat
) -> None:
    assert chat("acme/shared", cache_salt="x", old_salt="mine", older_salt=1).status == 200
    assert chat("acme/shared", cache="no-store").status == 200
    for request in platform.engines["shared"].received:
        found = [request.json().get(name) for name in ("cache_salt", "old_salt", "older_salt")]
        assert len(set(found)) == 1
        assert isinstance(found[0], str)
        assert request.body.count(b"_salt") == 3


def test_a_model_without_a_cache_gets_no_salt_not_even_a_clients_and_no_store_is_kept_by_itself(
    platform: Platform, chat: Chat
) -> None:
    assert chat("acme/off", cache_salt="mine").status == 200
    assert chat("acme/off", cache="no-store").status == 200
    assert salts(platform, "off") == [None, None]


def test_an_engine_without_a_salt_field_gets_none(platform: Platform, chat: Chat) -> None:
    assert chat("acme/stored").status == 200
    assert salts(platform, "stored") == [None]


def test_no_store_isolated_is_a_fresh_random_salt_of_32_bytes_for_every_call(platform: Platform, chat: Chat) -> None:
    for region in (None, "eu-west", None):
        assert chat("acme/both", region=region, cache="no-store").status == 200
    chat("acme/both")
    random = [salt or "" for salt in salts(platform, "both")]
    assert len(set(random)) == 4
    assert [len(urlsafe_b64decode(salt + "=")) for salt in random] == [32] * 4


def test_no_store_not_stored_goes_to_the_pool_without_a_cache(platform: Platform, chat: Chat) -> None:
    for region in (None, "eu-west"):
        assert chat("acme/full", region=region, cache="no-store").status == 200
    assert platform.served_by() == ["full-no-store"]
    assert salts(platform, "full-no-store") == [None, None]


def test_no_store_not_stored_never_falls_back_to_the_pool_with_a_cache(platform: Platform, chat: Chat) -> None:
    platform.publish_eu(without=("full-no-store", "stored-no-store"))
    for model, region in (("acme/full", None), ("acme/full", "eu-west"), ("acme/stored", "eu-west")):
        answer = chat(model, region=region, cache="no-store")
        assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
    assert platform.served_by() == []


def test_no_store_not_stored_falls_back_to_another_regions_pool_without_a_cache(platform: Platform, chat: Chat) -> None:
    platform.publish_eu(without=("stored-no-store",))
    answer = chat("acme/stored", cache="no-store")
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    assert platform.served_by() == ["us-stored-no-store"]


def test_no_store_is_refused_with_400_where_the_policy_does_not_offer_it(platform: Platform, chat: Chat) -> None:
    for region in (None, "eu-west"):
        answer = chat("acme/pinned", region=region, cache="no-store")
        assert (answer.status, answer.error["code"]) == (400, "cache_policy_unsatisfiable")
        assert answer.error["param"] == "X-Tomoul-Cache"
    assert platform.served_by() == []


def test_the_cache_directive_travels_with_a_call_to_another_region(platform: Platform, chat: Chat) -> None:
    answer = chat("acme/pinned", region="us-east", cache="no-store")
    assert (answer.status, answer.error["code"]) == (400, "cache_policy_unsatisfiable")
    assert answer.header("x-tomoul-region") == "us-east"
    assert chat("acme/far", cache="no-store").header("x-tomoul-region") == "us-east"
    assert chat("acme/far").header("x-tomoul-region") == "us-east"
    first, second = salts(platform, "us-far")
    assert first != second


def test_a_gateway_that_a_call_falls_back_to_sets_the_salt_anew(platform: Platform, chat: Chat) -> None:
    platform.publish_eu(without=("both",))
    assert chat("acme/both").header("x-tomoul-region") == "us-east"
    [request] = platform.engines["us-both"].received
    assert request.body.count(b"cache_salt") == 1


@pytest.mark.parametrize(
    "directive", ["", "no-cache", "No-Store", "no-store, max-age=0", "no-store,no-store", "private"]
)
def test_an_unknown_directive_is_refused_with_400(platform: Platform, chat: Chat, directive: str) -> None:
    answer = chat(cache=directive)
    assert (answer.status, answer.error["code"]) == (400, "invalid_cache_directive")
    assert platform.served_by() == []


def test_a_repeated_directive_is_refused_with_400(platform: Platform) -> None:
    headers = [("X-Tomoul-Cache", "no-store"), ("x-tomoul-cache", "no-store")]
    answer = call(platform.eu.port, body={"model": "acme/both", "messages": [{}]}, headers=headers)
    assert (answer.status, answer.error["code"]) == (400, "invalid_cache_directive")
