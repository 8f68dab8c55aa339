"""Keys, what they may reach, and how much: two regions whose gateways ask for keys."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway.counting import counting, event, line, streamed
from tests.gateway.harness import Gateway, eventually
from tests.gateway.keys import NAMESPACE, bearer, derived, key_of, secrets_of, tenants_of
from tests.gateway.tables import model, table
from tests.gateway.two_regions import ISOLATED, pools
from tests.gateway.wire import Answer, FakeEngine, Received, Reply, call, chunk, reply, stream
from tomoul.api.routingtable import RoutingTable

BOTH = ["eu-west", "us-east"]
ENGINES = {"eu-west": ("both", "eu"), "us-east": ("us-both", "us-far")}
Spec = Mapping[str, Any]


class Regions:
    """eu-west and us-east, a fake engine per pool, and the tenants of a test."""

    def __init__(self) -> None:
        self.engines = {name: FakeEngine(name) for names in ENGINES.values() for name in names}
        for engine in self.engines.values():
            engine.start()
        self.eu, self.us = Gateway("eu-west"), Gateway("us-east")
        self._south = False

    def publish(
        self,
        tenants: Mapping[str, Spec],
        *,
        keys: Mapping[str, Sequence[str]] | None = None,
        without: Sequence[str] = (),
        us_port: int = 0,
        gateways: int = 1,
        south: bool = False,
    ) -> None:
        """Serve `tenants`, each with a key of its own unless `keys` says otherwise, `without` some engines.

        With `south` acme/both also falls back, before all others, to a third region that cannot be reached.
        """
        self._south = south
        fields = tenants_of(tenants)
        secrets = secrets_of(keys if keys is not None else {name: [key_of(name)] for name in tenants})
        for gateway, others in ((self.us, ()), (self.eu, [us_port or None])):
            region = gateway.options.region
            ready = {name: [] if name in without else [self.engines[name]] for name in ENGINES[region]}
            remote = [{"region": "us-east", "url": f"http://127.0.0.1:{port or self.us.port}"} for port in others]
            remote += [{"region": "ap-south", "url": "http://127.0.0.1:1"}] if south and others else []
            gateway.publish([self.table(region, remoteGateways=remote, **fields)], ready, secrets, gateways)

    def table(self, region: str, **fields: Any) -> RoutingTable:
        here = region == "eu-west"
        fallback = (["ap-south", "us-east"] if self._south else ["us-east"]) if here else []
        models = [
            model("acme/both", aliases=["both"], regions=BOTH, fallback=fallback, cache=ISOLATED,
                  pools=pools("both" if here else "us-both")),
            model("acme/far", regions=["us-east"], fallback=["us-east"] if here else [],
                  pools=[] if here else pools("us-far")),
            *([model("acme/eu", pools=pools("eu"))] if here else []),
        ]  # fmt: skip
        return table(models, region, **fields)

    def chat(
        self,
        tenant: str = "free",
        model: str = "acme/both",
        region: str | None = None,
        key: str | None = None,
        gateway: Gateway | None = None,
        headers: Sequence[tuple[str, str]] = (),
        **fields: Any,
    ) -> Answer:
        """A call with the tenant's key at eu-west, or at another gateway."""
        pin = [("X-Tomoul-Region", region)] if region else []
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
        port = (gateway or self.eu).port
        return call(port, body=body, headers=[bearer(key or key_of(tenant)), *pin, *headers])

    def get(self, path: str, tenant: str) -> Answer:
        return call(self.eu.port, path, method="GET", headers=[bearer(key_of(tenant))])

    def served(self) -> list[str]:
        """Engines that got calls since this was asked last."""
        found = [name for name, engine in self.engines.items() for _ in engine.received]
        for engine in self.engines.values():
            engine.received.clear()
        return found

    def reset(self) -> None:
        self.served()
        for engine in self.engines.values():
            engine.behave = None

    def stop(self) -> None:
        for gateway in (self.eu, self.us):
            gateway.stop()
        for engine in self.engines.values():
            engine.stop()


@pytest.fixture(scope="module")
def shared_regions() -> Iterator[Regions]:
    regions = Regions()
    yield regions
    logs = regions.eu.log() + regions.us.log()
    output = regions.eu.output.read_text() + regions.us.output.read_text()
    regions.stop()
    assert "bug" not in logs, logs
    assert "sk-" not in logs + output, "a key is in a log"


@pytest.fixture
def regions(shared_regions: Regions) -> Regions:
    shared_regions.reset()
    return shared_regions


def refused(answer: Answer, status: int, code: str, region: str = "eu-west") -> Answer:
    assert (answer.status, answer.error["code"]) == (status, code), answer
    assert answer.header("x-tomoul-region") == region
    assert answer.header("x-request-id")
    return answer


# Keys ---------------------------------------------------------------------------------------------------------------


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


# What a key may reach -----------------------------------------------------------------------------------------------


def test_a_pin_to_a_region_that_the_key_may_not_be_used_in_is_403(regions: Regions) -> None:
    regions.publish({"eu": {"regions": ["eu-west"]}, "us": {"regions": ["us-east"]}})
    assert regions.chat("eu", region="eu-west").status == 200
    assert regions.chat("us", region="us-east").status == 200
    regions.served()
    for tenant, region in (("eu", "us-east"), ("us", "eu-west")):
        answer = refused(regions.chat(tenant, region=region), 403, "region_not_permitted")
        assert answer.error["param"] == "X-Tomoul-Region"
        own = {"eu": ["eu-west"], "us": ["us-east"]}[tenant]
        assert answer.error["available_regions"] == own
        assert refused(regions.chat(tenant, region="mars"), 400, "unknown_region").error["available_regions"] == own
    assert regions.served() == []


def test_a_key_for_one_region_is_never_answered_elsewhere_when_nothing_is_ready_there(regions: Regions) -> None:
    regions.publish({"free": {}, "eu": {"regions": ["eu-west"]}}, without=["both"])
    assert regions.chat("free").header("x-tomoul-region") == "us-east"
    regions.served()
    for _ in range(5):
        answer = refused(regions.chat("eu"), 503, "region_capacity_unavailable")
        assert int(answer.header("retry-after") or 99) <= 60
    assert regions.served() == []


def test_a_key_for_one_region_is_never_answered_elsewhere_when_all_pods_there_refuse(regions: Regions) -> None:
    regions.publish({"eu": {"regions": ["eu-west"]}})
    regions.engines["both"].behave = lambda request: reply(503, b'{"error":{"message":"full"}}')
    for _ in range(5):
        refused(regions.chat("eu"), 503, "region_capacity_unavailable")
    assert set(regions.served()) == {"both"}


def test_a_key_for_another_region_is_never_answered_here(regions: Regions) -> None:
    regions.publish({"us": {"regions": ["us-east"]}})
    for _ in range(5):
        assert regions.chat("us").header("x-tomoul-region") == "us-east"
    assert set(regions.served()) == {"us-both"}
    regions.publish({"us": {"regions": ["us-east"]}}, us_port=1)
    for _ in range(3):
        refused(regions.chat("us"), 503, "region_capacity_unavailable")
    assert regions.served() == []


def test_a_key_for_a_region_that_would_not_answer_is_403_with_the_regions_to_name(regions: Regions) -> None:
    regions.publish({"us": {"regions": ["us-east"]}, "south": {"regions": ["ap-south"]}})
    # acme/eu has no fallback.
    answer = refused(regions.chat("us", model="acme/eu"), 403, "region_not_permitted")
    assert answer.error["available_regions"] == []
    assert answer.error["message"] == "The API key may not be used in any region that has the model `acme/eu`"
    refused(regions.chat("south"), 403, "region_not_permitted")
    refused(regions.chat("south", model="acme/far"), 403, "region_not_permitted")
    assert regions.served() == []


def test_a_key_for_some_of_the_regions_goes_to_the_first_of_them_with_capacity_and_is_known_there(
    regions: Regions,
) -> None:
    regions.publish({"two": {"regions": BOTH}}, south=True)
    assert regions.chat("two").header("x-tomoul-region") == "eu-west"
    regions.publish({"two": {"regions": BOTH}}, south=True, without=["both"])
    assert regions.chat("two").header("x-tomoul-region") == "us-east"
    assert regions.served() == ["both", "us-both"]


def test_a_key_for_all_regions_that_may_answer_falls_back_as_one_for_all_does(regions: Regions) -> None:
    regions.publish({"two": {"regions": BOTH}}, without=["both"])
    assert regions.chat("two").header("x-tomoul-region") == "us-east"


def test_a_model_that_a_key_may_not_call_is_not_there(regions: Regions) -> None:
    regions.publish({"picky": {"models": ["acme/both"]}})
    assert regions.chat("picky").status == 200
    assert regions.chat("picky", model="both").status == 200, "an alias is the model"
    regions.served()
    for region in (None, "eu-west", "us-east"):
        hidden = refused(
            regions.chat("picky", model="acme/far", region=region), 404, "model_not_found", region or "eu-west"
        )
        unknown = regions.chat("picky", model="acme/fog", region=region)
        assert hidden.body.replace(b"acme/far", b"acme/fog") == unknown.body
    assert regions.served() == []


def test_models_show_what_the_key_may_use(regions: Regions) -> None:
    regions.publish(
        {
            "free": {},
            "picky": {"models": ["acme/both"]},
            "eu": {"regions": ["eu-west"]},
            "south": {"regions": ["ap-south"]},
        }
    )

    def shown(tenant: str) -> dict[str, list[str]]:
        return {each["id"]: each["regions"] for each in regions.get("/v1/models", tenant).json()["data"]}

    assert shown("free") == {"acme/both": BOTH, "acme/eu": ["eu-west"], "acme/far": ["us-east"]}
    assert shown("picky") == {"acme/both": BOTH}
    assert shown("eu") == {"acme/both": ["eu-west"], "acme/eu": ["eu-west"]}
    assert shown("south") == {}
    assert regions.get("/v1/models/acme/both", "eu").json()["regions"] == ["eu-west"]
    refused(regions.get("/v1/models/acme/far", "eu"), 404, "model_not_found")
    refused(regions.get("/v1/models/acme/far", "picky"), 404, "model_not_found")
    assert regions.get("/v1/models/acme/far", "free").json()["regions"] == ["us-east"]


def test_a_tenant_that_requires_a_region_is_refused_without_one_though_the_model_requires_none(
    regions: Regions,
) -> None:
    regions.publish({"strict": {"requireRegion": True}})
    refused(regions.chat("strict"), 400, "region_required")
    # Neither header that HTTP/1.1 removes on the way opens it.
    removed = [("Connection", "X-Tomoul-Region"), ("X-Tomoul-Region", "eu-west")]
    refused(regions.chat("strict", headers=removed), 400, "region_required")
    assert regions.served() == []
    assert regions.chat("strict", region="us-east").status == 200
    assert regions.get("/v1/models", "strict").status == 200


def test_a_tenants_salt_is_its_own_and_the_same_in_every_region(regions: Regions) -> None:
    regions.publish({"free": {}, "other": {}})
    for tenant in ("free", "other"):
        for region in BOTH:
            assert regions.chat(tenant, region=region).status == 200
    salts = [request.json()["cache_salt"] for name in ("both", "us-both") for request in regions.engines[name].received]
    own = [derived(f"{NAMESPACE}/{tenant}", "acme/both") for tenant in ("free", "other")]
    assert salts == own * 2
    assert own[0] != own[1] != derived("anonymous", "acme/both")


# Limits -------------------------------------------------------------------------------------------------------------


def over_limit(answer: Answer, words: str, region: str = "eu-west") -> int:
    """Seconds that a call which is over a limit is told to wait."""
    refused(answer, 429, "rate_limit_exceeded", region)
    assert words in answer.error["message"]
    seconds = int(answer.header("retry-after") or 0)
    assert 1 <= seconds <= 60
    assert answer.header("x-should-retry") is None
    return seconds


def test_requests_past_the_limit_are_429_until_some_of_the_minute_has_passed(regions: Regions) -> None:
    regions.publish({"requests": {"limits": {"requestsPerMinute": 60}}, "free": {}})
    answers = [regions.chat("requests").status for _ in range(60)]
    assert answers.count(200) == 60
    last = eventually(lambda: (answer := regions.chat("requests")).status == 429 and answer)
    assert over_limit(last, "The limit of 60 requests per minute is reached") == 1
    assert last.error["type"] == "requests"
    assert regions.chat("free").status == 200, "others have limits of their own"
    eventually(lambda: regions.chat("requests").status == 200)


def test_every_counted_answer_tells_what_is_left_of_the_requests_and_others_do_not(regions: Regions) -> None:
    def left(answer: Answer) -> tuple[str | None, ...]:
        return tuple(answer.header(f"x-ratelimit-{each}-requests") for each in ("limit", "remaining", "reset"))

    def told(answer: Answer, remaining: int, most: int) -> bool:
        """Whether that many are left, all of them there again after at most so many seconds."""
        limit, found, reset = left(answer)
        minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(\d+)s", reset or "").groups(default="0")  # type: ignore[union-attr]
        return (limit, found) == ("4", str(remaining)) and most - 14 < int(minutes) * 60 + int(seconds) <= most

    regions.publish({"told": {"limits": {"requestsPerMinute": 4}}, "free": {}}, without=["eu"])
    assert told(regions.chat("told"), 3, 15)
    assert told(regions.chat("told", stream=True), 2, 30)
    assert told(regions.chat("told", "acme/none"), 1, 45), "refused by the filter, and counted"
    assert told(regions.chat("told", "acme/eu"), 0, 60), "answered by Envoy itself"
    refused = regions.chat("told")
    assert refused.status == 429
    assert told(refused, 0, 60)
    assert left(regions.chat("free")) == (None, None, None)
    assert told(regions.chat("told", region="us-east"), 3, 15), "of the region that counts it"


def test_gateways_that_share_a_limit_tell_it_whole_and_what_is_left_of_their_part(regions: Regions) -> None:
    regions.publish({"shared": {"limits": {"requestsPerMinute": 12}}}, gateways=3)
    answer = regions.chat("shared")
    assert answer.header("x-ratelimit-limit-requests") == "12"
    assert answer.header("x-ratelimit-remaining-requests") == "3"


def test_limits_outlive_changes_of_the_configuration_and_a_changed_limit_holds_at_once(regions: Regions) -> None:
    def limited(most: int) -> dict[str, Spec]:
        return {"kept": {"limits": {"requestsPerMinute": most}}}

    regions.publish(limited(2))
    assert [regions.chat("kept").status for _ in range(3)] == [200, 200, 429]
    for _ in range(3):
        regions.publish(limited(2))
        over_limit(regions.chat("kept"), "2 requests per minute")
    regions.publish(limited(4))
    assert [regions.chat("kept").status for _ in range(3)] == [200, 200, 429]


def test_tokens_are_charged_when_a_call_is_over_streamed_or_not_and_past_the_limit_calls_wait(
    regions: Regions,
) -> None:
    for tenant, fields in (("whole", {}), ("stream", {"stream": True})):
        regions.publish({tenant: {"limits": {"tokensPerMinute": 1000}}})
        regions.engines["both"].behave = counting(300, 250)
        assert [regions.chat(tenant, region="eu-west", **fields).status for _ in range(3)] == [200, 200, 429]
        answer = regions.chat(tenant, region="eu-west")
        assert over_limit(answer, "The limit of 1000 tokens per minute is reached") in (5, 6, 7)
        assert answer.error["type"] == "tokens"


def test_as_many_calls_run_at_once_as_the_limit_says_and_each_makes_room_however_it_ends(regions: Regions) -> None:
    regions.publish({"busy": {"limits": {"concurrentRequests": 2}}})
    release = threading.Event()

    def slow(request: Received) -> Sequence[Reply]:
        release.wait(10)
        return counting(1, 1)(request)

    regions.engines["both"].behave = slow
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(regions.chat, "busy", region="eu-west") for _ in range(2)]
        eventually(lambda: len(regions.engines["both"].received) == 2)
        over_limit(regions.chat("busy", region="eu-west"), "The limit of 2 requests at the same time is reached")
        release.set()
        assert [each.result().status for each in running] == [200, 200]

    def ends(behave: Callable[[Received], Sequence[Reply]] | None, **fields: Any) -> None:
        """Three calls after each other, which would be one too many if one had not made room."""
        regions.engines["both"].behave = behave
        for _ in range(3):
            answer = regions.chat("busy", **{"region": "eu-west", **fields})
            assert answer.status != 429, answer

    ends(None)
    ends(lambda request: reply(500, b"{}"))
    ends(lambda request: streamed(event("[DONE]")), stream=True)
    ends(lambda request: streamed(), stream=True)  # cut off
    ends(None, model="nobody/knows")
    ends(None, messages="no list")
    ends(None, region="us-east")
    ends(None, region="nowhere")


def test_a_client_that_goes_away_makes_room_for_another_call(regions: Regions) -> None:
    regions.publish({"leaves": {"limits": {"concurrentRequests": 1}}})
    regions.engines["both"].behave = lambda request: streamed(5.0, event("[DONE]"))
    body = {"model": "acme/both", "messages": [{}], "stream": True}
    headers = [bearer(key_of("leaves")), ("X-Tomoul-Region", "eu-west")]
    began = time.monotonic()
    call(regions.eu.port, body=body, headers=headers, close_after=lambda data: b"Hel" in data)
    regions.engines["both"].behave = None
    eventually(lambda: regions.chat("leaves", region="eu-west").status == 200, 4)
    assert time.monotonic() - began < 4, "not only when the engine had ended"


def test_a_client_that_goes_away_before_its_tokens_are_told_is_charged_with_the_chunks_that_had_come(
    regions: Regions,
) -> None:
    regions.publish({"hasty": {"limits": {"tokensPerMinute": 40}}})
    chunks = [event(chunk("c-1", f"t{number}.")) for number in range(60)]
    regions.engines["both"].behave = lambda request: stream(*chunks, 5.0, event("[DONE]"))
    body = {"model": "acme/both", "messages": [{}], "stream": True}
    headers = [bearer(key_of("hasty")), ("X-Tomoul-Region", "eu-west")]
    call(regions.eu.port, body=body, headers=headers, close_after=lambda data: b"t59." in data)
    regions.engines["both"].behave = counting(0, 0)
    answer = eventually(lambda: (tried := regions.chat("hasty", region="eu-west")).status == 429 and tried)
    over_limit(answer, "The limit of 40 tokens per minute is reached")


def test_a_call_is_counted_once_and_by_the_gateway_that_serves_it(regions: Regions) -> None:
    regions.publish({"once": {"limits": {"requestsPerMinute": 2}}})
    # Over the other region's gateway, as often as that allows.
    assert [regions.chat("once", region="us-east").status for _ in range(2)] == [200, 200]
    over_limit(regions.chat("once", region="us-east"), "2 requests per minute", "us-east")
    # None of that was this gateway's.
    assert [regions.chat("once", region="eu-west").status for _ in range(3)] == [200, 200, 429]


def test_a_call_that_falls_back_is_counted_where_it_is_served(regions: Regions) -> None:
    regions.publish({"falls": {"limits": {"requestsPerMinute": 2}}}, without=["both"])
    answers = [regions.chat("falls") for _ in range(3)]
    assert [answer.header("x-tomoul-region") for answer in answers] == ["us-east"] * 3
    over_limit(answers[2], "2 requests per minute", "us-east")
    regions.publish({"falls": {"limits": {"requestsPerMinute": 2}}})
    assert [regions.chat("falls", region="eu-west").status for _ in range(3)] == [200, 200, 429]


def test_the_mark_of_a_forwarded_call_evades_no_limit(regions: Regions) -> None:
    regions.publish({"sly": {"limits": {"requestsPerMinute": 1}}})
    marked = [("X-Tomoul-Forwarded", "us-east")]
    answers = [regions.chat("sly", region="eu-west", headers=marked).status for _ in range(2)]
    assert answers == [200, 429]


def test_gateways_share_the_limits_of_their_region(regions: Regions) -> None:
    regions.publish({"shared": {"limits": {"requestsPerMinute": 6}}}, gateways=3)
    answers = [regions.chat("shared", region="eu-west") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert "The limit of 6 requests per minute" in answers[2].error["message"]


OUTPUT = [
    ({}, {"max_tokens": 100}),
    ({"max_tokens": None}, {"max_tokens": 100}),
    ({"max_tokens": 100}, {"max_tokens": 100}),
    ({"max_tokens": 7}, {"max_tokens": 7}),
    ({"max_completion_tokens": 7}, {"max_completion_tokens": 7, "max_tokens": 7}),
    ({"max_completion_tokens": 7, "max_tokens": 9}, {"max_completion_tokens": 7, "max_tokens": 9}),
    ({"n": 3}, {"n": 3, "max_tokens": 33}),
    ({"n": 2, "max_tokens": 50}, {"n": 2, "max_tokens": 50}),
]
TOO_MUCH = [
    ({"max_tokens": 101}, "max_tokens", "must be at most 100"),
    ({"max_completion_tokens": 101}, "max_completion_tokens", "must be at most 100"),
    ({"max_completion_tokens": 7, "max_tokens": 101}, "max_tokens", "must be at most 100"),
    ({"max_tokens": 51, "n": 2}, "max_tokens", "must be at most 50"),
    ({"n": 101}, "n", "must be 1 to 100"),
    ({"n": 0}, "n", "must be 1 to 100"),
    ({"max_tokens": -1}, "max_tokens", "must be a whole number"),
    ({"max_tokens": 1.5}, "max_tokens", "must be a whole number"),
    ({"max_tokens": "7"}, "max_tokens", "must be a whole number"),
]


@pytest.mark.parametrize(("asked", "sent"), OUTPUT)
def test_a_call_puts_out_no_more_tokens_than_its_tenants_calls_may(regions: Regions, asked: Spec, sent: Spec) -> None:
    regions.publish({"short": {"limits": {"maxOutputTokens": 100}}})
    assert regions.chat("short", region="eu-west", **asked).status == 200
    got = regions.engines["both"].received[0].json()
    assert {name: value for name, value in got.items() if name.startswith("max") or name == "n"} == sent


@pytest.mark.parametrize(("asked", "param", "words"), TOO_MUCH)
def test_a_call_that_asks_for_more_output_than_its_tenant_may_have_is_400(
    regions: Regions, asked: Spec, param: str, words: str
) -> None:
    regions.publish({"short": {"limits": {"maxOutputTokens": 100}}})
    answer = regions.chat("short", region="eu-west", **asked)
    refused(answer, 400, "invalid_type" if "whole" in words else "invalid_value")
    assert answer.error["param"] == param
    assert words in answer.error["message"]
    assert regions.served() == []


def test_many_tenants_keys_are_told_apart_and_cost_no_more(regions: Regions) -> None:
    names = [f"tenant-{number}" for number in range(2000)]
    regions.publish({name: {"limits": {"requestsPerMinute": 10}} for name in names})
    for name in (names[0], names[999], names[1999]):
        assert line(regions.eu, regions.chat(name))["tenant"] == f"{NAMESPACE}/{name}"
    refused(regions.chat("tenant-2000"), 401, "invalid_api_key")
    dump = json.dumps(json.loads(regions.eu.admin("/config_dump")))
    assert "sk-" not in dump, "Envoy knows hashes only"
