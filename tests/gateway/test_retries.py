"""What clients are told about trying again: how long to wait where that helps, and not to where nothing does."""

from collections.abc import Callable

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.harness import MAX_BODY
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer, Reply, call, reply, send

BODY = {"model": "acme/both", "messages": [{}]}
UNKNOWN_CODING = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n"
Make = Callable[[Platform, Chat], Answer]


def engine_answers(status: int, **headers: str) -> Make:
    """A call whose engine answers with a status."""

    def make(platform: Platform, chat: Chat) -> Answer:
        replies = reply(status, b'{"error":{"message":"no"}}', headers=list(headers.items()))
        platform.engines["pinned"].behave = lambda _: replies
        return chat("acme/pinned", region="eu-west")

    return make


def engine_does(*replies: Reply, model: str) -> Make:
    def make(platform: Platform, chat: Chat) -> Answer:
        platform.engines[model.removeprefix("acme/")].behave = lambda _: replies
        return chat(model)

    return make


def header_says(name: str, value: str) -> Make:
    return lambda platform, chat: call(platform.eu.port, body=BODY, headers=[(name, value)])


IN_VAIN = {
    "an unknown region": (400, header_says("x-tomoul-region", "mars")),
    "an unknown model": (404, lambda platform, chat: chat("acme/none")),
    "another path": (404, lambda platform, chat: call(platform.eu.port, "/v1/nothing")),
    "another method": (405, lambda platform, chat: call(platform.eu.port, method="GET")),
    "a large body": (413, lambda platform, chat: call(platform.eu.port, body=b" " * (MAX_BODY + 1))),
    "another media type": (415, header_says("content-type", "text/plain")),
    "large headers": (431, header_says("x-large", "x" * 100_000)),
    "no HTTP": (400, lambda platform, chat: send(platform.eu.port, b"GARBAGE\r\n\r\n")),
    "an unknown coding": (501, lambda platform, chat: send(platform.eu.port, UNKNOWN_CODING)),
    "an engine's 400": (400, engine_answers(400)),
    "an engine's 404": (404, engine_answers(404)),
    "an engine's 422": (422, engine_answers(422)),
    "an engine that is too slow": (504, engine_does(3.0, model="acme/quick")),
}
WORTHWHILE = {
    "nothing ready": (503, lambda platform, chat: chat("acme/empty", region="eu-west")),
    "an engine that is full": (503, engine_answers(503)),
    "an engine that is gone": (502, engine_does(model="acme/pinned")),
    "an engine's 500": (500, engine_answers(500)),
    "an engine's 429": (429, engine_answers(429)),
    "an engine's 408": (408, engine_answers(408)),
    "an engine's 409": (409, engine_answers(409)),
}


@pytest.mark.parametrize("case", IN_VAIN)
def test_an_error_that_the_same_call_would_get_again_says_so(platform: Platform, chat: Chat, case: str) -> None:
    status, make = IN_VAIN[case]
    answer = make(platform, chat)
    assert (answer.status, answer.header("x-should-retry")) == (status, "false")
    assert answer.header("retry-after") is None


@pytest.mark.parametrize("case", WORTHWHILE)
def test_an_error_that_another_try_may_not_get_leaves_trying_to_the_client(
    platform: Platform, chat: Chat, case: str
) -> None:
    status, make = WORTHWHILE[case]
    answer = make(platform, chat)
    assert (answer.status, answer.header("x-should-retry")) == (status, None)
    if status == 503:
        assert 0 < int(answer.header("retry-after") or 0) <= 60


def test_an_engine_cannot_say_whether_its_refusal_is_worth_another_try(platform: Platform, chat: Chat) -> None:
    assert engine_answers(400, **{"x-should-retry": "true"})(platform, chat).header("x-should-retry") == "false"


@pytest.mark.parametrize(
    ("status", "told", "passed"),
    [
        (503, "7", "7"),
        (429, "60", "60"),
        (503, "86400", "60"),
        (429, "3600", "60"),
        (429, "99999999999999999999999", "60"),
        (503, "Fri, 31 Dec 2100 23:59:59 GMT", "30"),
        (429, "-1", None),
        (429, "0.5", None),
        (404, "5", None),
    ],
)
def test_no_engine_makes_a_client_wait_longer_than_a_minute_or_for_nothing(
    platform: Platform, chat: Chat, status: int, told: str, passed: str | None
) -> None:
    answer = engine_answers(status, **{"retry-after": told, "retry-after-ms": "86400000"})(platform, chat)
    assert (answer.status, answer.header("retry-after")) == (status, passed)
    assert answer.header("retry-after-ms") is None, "OpenAI's clients believe it first"
