"""While an engine is silent in the middle of a stream, comments keep the client's connection alive."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import Answer, FakeEngine, Reply, call, chunk, stream

COMMENT_SECONDS = 1
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def gateway(engine: FakeEngine) -> Iterator[Gateway]:
    gateway = Gateway(comment_seconds=COMMENT_SECONDS)
    models = [
        model("acme/chat", pools=pools("chat"), timeouts={"requestSeconds": 600, "idleSeconds": 60}),
        model("acme/idle", pools=pools("chat"), timeouts={"requestSeconds": 600, "idleSeconds": 4}),
    ]
    gateway.publish([table(models)], {"chat": [engine]})
    yield gateway
    log = gateway.log()
    gateway.stop()
    assert "tomoul: " not in log, log


def event(content: str) -> bytes:
    return f"data: {chunk('e-1', content)}\n\n".encode()


def streamed(gateway: Gateway, name: str = "acme/chat", **fields: Any) -> Answer:
    body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    return call(gateway.port, body=body, **fields)


def contents(answer: Answer) -> list[str]:
    """What the chunks bring, all of which carry one id of the gateway's."""
    chunks = [json.loads(each) for each in answer.events()[:-1]]
    assert len({each["id"] for each in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl_")
    return [each["choices"][0]["delta"]["content"] for each in chunks]


def test_a_client_gets_comments_while_the_engine_is_silent_and_then_the_rest_in_order(
    gateway: Gateway, engine: FakeEngine
) -> None:
    engine.behave = lambda _: stream(event("a"), 3.5, event("b"), event("c"), 2.5, event("d"), DONE)
    answer = streamed(gateway)
    assert answer.whole
    assert contents(answer) == ["a", "b", "c", "d"]
    assert answer.events()[-1] == "[DONE]"
    first, _, third = answer.body.split(b'"content":"a"')[1].partition(b'"content":"b"')
    assert first.count(b":\n\n") >= 2, answer.body
    assert b":\n\n" in third.partition(b'"content":"c"')[2]
    assert answer.body.endswith(DONE)


def test_a_comment_never_ends_an_event_that_has_begun(gateway: Gateway, engine: FakeEngine) -> None:
    whole = event("a")
    # Behind the event's line but before its end; and in the line, of which nothing has left then.
    for cut, wanted in (
        (len(whole) - 1, rb"data: [^\n]*\n(:\n)+\ndata: \[DONE\]\n\n"),
        (10, rb"(:\n\n)+data: [^\n]*\n\ndata: \[DONE\]\n\n"),
    ):
        pieces: list[bytes | float] = [whole[:cut], 2.5, whole[cut:], DONE]
        engine.behave = lambda _, pieces=pieces: stream(*pieces)
        answer = streamed(gateway)
        assert re.fullmatch(wanted, answer.body), answer.body
        assert contents(answer) == ["a"]


def test_the_openai_client_reads_on_behind_comments(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda _: stream(2.5, event("a"), 2.5, event("b"), DONE)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="none", max_retries=0)
    with client.chat.completions.create(
        model="acme/chat", messages=[{"role": "user", "content": "Hi"}], stream=True
    ) as events:
        assert [each.choices[0].delta.content for each in events] == ["a", "b"]


def test_an_engine_that_stays_silent_is_given_up_after_the_models_idle_time_despite_comments(
    gateway: Gateway, engine: FakeEngine
) -> None:
    engine.behave = lambda _: stream(event("a"), 12.0, event("b"), DONE)
    started = time.monotonic()
    answer = streamed(gateway, "acme/idle")
    assert 3 < time.monotonic() - started < 10
    assert not answer.whole
    assert b":\n\n" in answer.body
    assert b'"b"' not in answer.body
    line = gateway.access_log(answer.header("x-request-id") or "")
    assert (line["code"], line["status"]) == ("timeout", 200)


def test_nothing_follows_the_end_of_a_stream(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda _: stream(event("a"), DONE, 2.5)
    answer = streamed(gateway)
    assert answer.whole
    assert answer.body.endswith(DONE)
    assert b":\n\n" not in answer.body


def test_streams_that_end_while_a_comment_is_due_end_as_they_would_without(
    gateway: Gateway, engine: FakeEngine
) -> None:
    """Two hundred at once, that end around the times at which comments leave, or whose clients go away then."""
    streams = 200
    seconds = [0.8 + 0.4 * number / streams for number in range(streams)]

    def behave(request: Any) -> list[Reply]:
        number = int(request.json()["messages"][0]["content"])
        rest: list[bytes | float] = [seconds[number], *([event("b"), DONE] if number % 4 else [seconds[number], DONE])]
        return stream(event("a"), *rest, finished=number % 4 != 3)

    def one(number: int) -> Answer:
        body = {"model": "acme/chat", "messages": [{"role": "user", "content": f"{number}"}], "stream": True}
        leaves = (lambda received: b"\n:\n" in received) if number % 4 == 0 else None
        return call(gateway.port, body=body, close_after=leaves)

    engine.behave = behave
    with ThreadPoolExecutor(streams) as executor:
        answers = list(executor.map(one, range(streams)))
    for number, answer in enumerate(answers):
        if number % 4 in (1, 2):
            assert answer.whole
            assert contents(answer) == ["a", "b"]
            assert answer.body.endswith(DONE)
        elif number % 4 == 3:
            assert not answer.whole
    assert any(b":\n\n" in answer.body for answer in answers)
    eventually(lambda: gateway.stat("http.gateway.downstream_rq_active") == 0)
    engine.behave = lambda _: stream(event("z"), DONE)
    assert contents(streamed(gateway)) == ["z"]
