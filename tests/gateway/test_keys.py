"""Which calls have a valid key, and where it goes with them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway.counting import line
from tests.gateway.harness import Gateway, eventually
from tests.gateway.keys import NAMESPACE, bearer, key_of, tenants_of
from tests.gateway.regions import Regions, refused
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import Answer, FakeEngine, call, reply


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [bearer("sk-nobody-".ljust(40, "k"))],
        [bearer(key_of("free") + "x")],
        [bearer("")],
        [("Authorization", key_of("free"))],
        [("Authorization", f"Basic {key_of('free')}")],
        [bearer(f"{key_of('free')} {key_of('free')}")],
        [bearer(key_of("free")), bearer(key_of("free"))],
        [("X-Api-Key", key_of("free"))],
    ],
)
@pytest.mark.parametrize("region", [None, "eu-west", "us-east", "nowhere"])
def test_a_call_without_a_valid_key_is_401_whatever_it_asks_for(
    regions: Regions, headers: list[tuple[str, str]], region: str | None
) -> None:
    regions.publish({"free": {}})
    pin = [("X-Tomoul-Region", region)] if region else []
    body = {"model": "acme/both", "messages": [{}]}
    for answer in (
        call(regions.eu.port, body=body, headers=[*headers, *pin]),
        call(regions.eu.port, "/v1/models", method="GET", headers=[*headers, *pin]),
        call(regions.eu.port, "/v1/models/acme/both", method="GET", headers=[*headers, *pin]),
    ):
        refused(answer, 401, "invalid_api_key")
        assert answer.header("www-authenticate") == "Bearer"
        assert answer.header("x-should-retry") == "false"
        assert "sk-" not in answer.body.decode()
        assert line(regions.eu, answer)["tenant"] is None
    assert regions.served() == []


def test_the_scheme_is_bearer_in_any_case(regions: Regions) -> None:
    regions.publish({"free": {}})
    answer = call(
        regions.eu.port,
        body={"model": "acme/both", "messages": [{}]},
        headers=[("authorization", f"bearer  {key_of('free')}")],
    )
    assert answer.status == 200


def test_a_tenants_name_is_in_the_line_of_its_calls(regions: Regions) -> None:
    regions.publish({"free": {}, "other": {}})
    for tenant in ("free", "other"):
        assert line(regions.eu, regions.chat(tenant))["tenant"] == f"{NAMESPACE}/{tenant}"
    refusal = regions.chat("other", model="nobody/knows")
    assert line(regions.eu, refusal)["tenant"] == f"{NAMESPACE}/other"


def test_no_engine_gets_a_key(regions: Regions) -> None:
    regions.publish({"free": {}})
    for region in (None, "eu-west", "us-east"):
        assert regions.chat(region=region).status == 200
    assert regions.chat(model="acme/eu").status == 200
    assert regions.chat(model="acme/far").status == 200
    got = [request.header("authorization") for engine in regions.engines.values() for request in engine.received]
    assert len(got) == 5
    assert set(got) == {None}


def test_without_authentication_no_engine_gets_a_key_either(gateway: Gateway) -> None:
    engine = FakeEngine("open")
    engine.start()
    gateway.publish([table([model("acme/open", pools=pools("open"))])], {"open": [engine]})
    assert call(gateway.port, body={"model": "acme/open", "messages": [{}]}, headers=[bearer("sk-mine")]).status == 200
    assert engine.received[0].header("authorization") is None
    engine.stop()


def test_a_call_that_an_engine_did_not_take_arrives_at_the_fallback_with_its_key(regions: Regions) -> None:
    regions.publish({"free": {}})
    regions.engines["both"].stop()  # its address is still among the ready ones
    try:
        answer = regions.chat()
    finally:
        regions.engines["both"].start()
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")


def test_an_engine_that_is_tried_again_after_a_region_sees_neither_key_nor_pin_nor_who_forwarded(
    regions: Regions,
) -> None:
    regions.publish({"free": {}})
    for name in ("both", "us-both"):
        regions.engines[name].behave = lambda request: reply(503, b"{}")
    refused(regions.chat(headers=[("X-Tomoul-Forwarded", "ap-south")]), 503, "region_capacity_unavailable")
    here = regions.engines["both"].received
    assert len(here) == 2, "once before the other region and once after it"
    assert regions.engines["us-both"].received
    for name in ("authorization", "x-tomoul-region", "x-tomoul-forwarded"):
        assert [request.header(name) for request in here] == [None, None], name


def test_a_call_that_an_engine_did_not_take_goes_on_only_to_regions_that_its_tenant_may_reach(regions: Regions) -> None:
    regions.publish({"two": {"regions": ["eu-west", "us-east"]}, "one": {"regions": ["eu-west"]}}, south=True)
    regions.engines["both"].behave = lambda request: reply(503, b"{}")
    answer = regions.chat("two")
    assert (answer.status, answer.header("x-tomoul-region")) == (200, "us-east")
    assert line(regions.eu, answer)["attempts"] == 2, "the region that cannot be reached is not the tenant's"
    refused(regions.chat("one"), 503, "region_capacity_unavailable")
    assert set(regions.served()) == {"both", "us-both"}


def test_a_call_for_another_region_carries_its_key_and_is_checked_again_there(regions: Regions) -> None:
    regions.publish({"free": {}})
    assert regions.chat(region="us-east").header("x-tomoul-region") == "us-east"
    assert line(regions.us, regions.chat(region="us-east", gateway=regions.us))["tenant"] == f"{NAMESPACE}/free"
    # A gateway that does not know the tenant, such as one that has just been told of its end.
    regions.us.publish([regions.table("us-east", **tenants_of({}))], {"us-both": [regions.engines["us-both"]]})
    refused(regions.chat(region="us-east"), 401, "invalid_api_key", "us-east")
    # The mark of a forwarded call opens nothing.
    marked = [("X-Tomoul-Forwarded", "eu-west")]
    refused(regions.chat(gateway=regions.us, headers=marked), 401, "invalid_api_key", "us-east")


def test_keys_are_rotated_without_a_call_that_fails_and_the_old_one_ends_when_it_is_taken_away(
    regions: Regions,
) -> None:
    old, new = key_of("free", 1), key_of("free", 2)
    regions.publish({"free": {}}, keys={"free": [old]})
    stop, using = threading.Event(), {"key": old}
    failures: list[Answer] = []
    calls: list[int] = []

    def keep_calling() -> None:
        while not stop.is_set():
            answer = regions.chat(key=using["key"])
            calls.append(answer.status)
            if answer.status != 200:
                failures.append(answer)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(keep_calling)
        eventually(lambda: len(calls) > 20)
        regions.publish({"free": {}}, keys={"free": [old, new]})
        using["key"] = new
        before = len(calls)
        eventually(lambda: len(calls) > before + 20)  # calls with the old key have ended
        regions.publish({"free": {}}, keys={"free": [new]})
        before = len(calls)
        eventually(lambda: len(calls) > before + 20)
        stop.set()
    assert failures == []
    refused(regions.chat(key=old), 401, "invalid_api_key")


def test_a_key_is_the_older_tenants_where_two_have_it(regions: Regions) -> None:
    shared = key_of("shared")
    regions.publish({"older": {}, "younger": {}}, keys={"older": [shared], "younger": [shared, key_of("younger")]})
    assert line(regions.eu, regions.chat(key=shared))["tenant"] == f"{NAMESPACE}/older"
    assert line(regions.eu, regions.chat("younger"))["tenant"] == f"{NAMESPACE}/younger"


def test_many_tenants_keys_are_told_apart_and_cost_no_more(regions: Regions) -> None:
    names = [f"tenant-{number}" for number in range(2000)]
    regions.publish({name: {"limits": {"requestsPerMinute": 10}} for name in names})
    for name in (names[0], names[999], names[1999]):
        assert line(regions.eu, regions.chat(name))["tenant"] == f"{NAMESPACE}/{name}"
    refused(regions.chat("tenant-2000"), 401, "invalid_api_key")
    dump = json.dumps(json.loads(regions.eu.admin("/config_dump")))
    assert "sk-" not in dump, "Envoy knows hashes only"
