"""What a gateway does before its memory is used up, be it by bodies that each are small enough."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.raw.cases import told_of
from tests.gateway.raw.connection import Connection, chat_body, request
from tests.gateway.raw.http2 import RESET, Upload, head
from tests.gateway.tables import model, table
from tests.gateway.wire import Answer, FakeEngine, call, reply

MIB = 1024 * 1024
HEAP = 64 * MIB
BODY = chat_body("u").replace(b"[{}]", b'[{"role":"user","content":"%s"}]' % (b"a" * (4 * MIB - 1000)))
CALLS = 30
BUSY = "503 region_capacity_unavailable"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def small(engine: FakeEngine) -> Iterator[Gateway]:
    """A gateway whose memory is less than what `CALLS` bodies need."""
    gateway = Gateway(max_body_bytes=4 * MIB, max_heap_bytes=HEAP)
    gateway.publish([table([model("acme/both")])], {"acme-both": [engine]})
    yield gateway
    gateway.stop()


def pressure(gateway: Gateway) -> int:
    """Percent of what the gateway may use."""
    return gateway.stat("overload.envoy.resource_monitors.fixed_heap.pressure")


def serves(gateway: Gateway) -> bool:
    return call(gateway.port, body={"model": "acme/both", "messages": [{}]}).status == 200


def test_bodies_that_would_use_up_all_memory_are_503_before_they_have_arrived_and_calls_go_on(small: Gateway) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(small.port)) for _ in range(CALLS)]
        for connection in connections:
            connection.send(request(f"Content-Length: {len(BODY)}", body=BODY[:-1]))
        eventually(lambda: pressure(small) >= 98)
        for connection in connections:
            connection.send(BODY[-1:])
        answers = [connection.answer() for connection in connections]
        told = [told_of(answer) if answer else None for answer in answers]
        assert BUSY in told
        assert set(told) <= {BUSY, "200 eu-west"}, "what was let in is answered"
        [retry_after] = {answer.header("retry-after") for answer in answers if answer and answer.status == 503}
        assert 0 < int(retry_after or 0) <= 60
    eventually(lambda: pressure(small) < 98)
    eventually(lambda: serves(small))


def test_streams_that_would_use_up_all_memory_are_reset_and_calls_go_on(small: Gateway) -> None:
    with Upload(small.port) as upload:
        streams = [upload.begin(head(), BODY[:-1]) for _ in range(CALLS)]
        upload.push()
        eventually(lambda: pressure(small) < 98)
        eventually(lambda: serves(small))
        ended = [upload.ended.get(stream) for stream in streams]
        assert RESET in ended
        assert set(ended) <= {RESET, None}, "what was let in goes on"


def test_a_body_of_just_the_maximum_is_served_over_http2_too(small: Gateway) -> None:
    with Upload(small.port) as upload:
        answer = upload.finish(upload.begin(head(), BODY))
    assert isinstance(answer, Answer)
    assert told_of(answer) == "200 eu-west"


def test_an_answer_in_one_piece_of_nearly_the_maximum_comes_whole_over_http2_too(
    small: Gateway, engine: FakeEngine
) -> None:
    content = "a" * (4 * MIB - 1000)
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    engine.behave = lambda _: reply(200, json.dumps({"object": "chat.completion", "choices": [choice]}).encode())
    with Upload(small.port) as upload:
        answer = upload.finish(upload.begin(head(), chat_body("u")))
    assert isinstance(answer, Answer)
    assert answer.json()["choices"][0]["message"]["content"] == content
