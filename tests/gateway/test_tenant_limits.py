"""How much a key may ask for."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway.counting import counting, event, streamed
from tests.gateway.harness import eventually
from tests.gateway.keys import bearer, key_of
from tests.gateway.regions import Regions, Spec, refused
from tests.gateway.wire import Answer, Received, Reply, call, chunk, reply, stream


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


def test_an_answer_that_an_engine_begins_and_does_not_end_tells_what_is_left_too(regions: Regions) -> None:
    regions.publish({"begun": {"limits": {"requestsPerMinute": 4}}, "free": {}})
    whole = [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n", 0.1]
    for remaining, streams, replies in ((3, False, whole), (2, True, stream(0.1, finished=False))):
        regions.engines["both"].behave = lambda _, replies=replies: replies
        answer = regions.chat("begun", stream=streams)
        refused(answer, 502, "engine_failed")
        assert answer.header("x-ratelimit-limit-requests") == "4"
        assert answer.header("x-ratelimit-remaining-requests") == str(remaining)
        assert re.fullmatch(r"\d+s", answer.header("x-ratelimit-reset-requests") or "")
        answer = regions.chat("free", stream=streams)
        refused(answer, 502, "engine_failed")
        assert not [name for name, _ in answer.headers if name.startswith("x-ratelimit")]


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


def test_a_stream_that_is_cut_because_its_engine_failed_and_went_on_is_charged_with_its_chunks(
    regions: Regions,
) -> None:
    regions.publish({"unlucky": {"limits": {"tokensPerMinute": 40}}})
    chunks = [event(chunk("c-1", f"t{number}.")) for number in range(60)]
    failed = event('{"error":{"message":"x","code":500}}')
    regions.engines["both"].behave = lambda request: stream(*chunks, failed, 10.0)
    assert not regions.chat("unlucky", region="eu-west", stream=True).whole
    regions.engines["both"].behave = counting(0, 0)
    over_limit(regions.chat("unlucky", region="eu-west"), "The limit of 40 tokens per minute is reached")


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
