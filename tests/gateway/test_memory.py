"""What a gateway does before its memory is used up, be it by bodies that each are small enough."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.raw.cases import told_of
from tests.gateway.raw.connection import Connection, chat_body, request
from tests.gateway.raw.http2 import RESET, Upload, head
from tests.gateway.tables import model, table
from tests.gateway.wire import Answer, FakeEngine, Received, Reply, call, chunk, reply, stream

MIB = 1024 * 1024
HEAP = 64 * MIB
BODY = chat_body("u").replace(b"[{}]", b'[{"role":"user","content":"%s"}]' % (b"a" * (4 * MIB - 1000)))
CALLS = 30
BUSY = "503 region_capacity_unavailable"


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
        connections: list[Connection] = []
        while pressure(small) < 98 and len(connections) < CALLS:
            connections.append(stack.enter_context(Connection(small.port)))
            with suppress(ConnectionError):  # memory may be up while the body is sent
                connections[-1].send(request(f"Content-Length: {len(BODY)}", body=BODY[:-1]))
        told = []
        for connection in connections:
            with suppress(ConnectionError):
                connection.send(BODY[-1:])
                if answer := connection.answer():
                    told.append((told_of(answer), answer.header("retry-after")))
        assert (BUSY, "30") in told
        assert set(told) <= {(BUSY, "30"), ("200 eu-west", None)}, "what was let in is answered"
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


class Endless(list[Reply]):
    """A stream without an end, which tells when it went on last."""

    def __init__(self) -> None:
        event = f"data: {chunk('c-1', 'a' * 1000)}\n\n".encode() * 50
        super().__init__(stream(event, finished=False))
        self.went_on = time.monotonic()

    def __iter__(self) -> Iterator[Reply]:
        yield self[0]
        while True:
            yield self[1]
            self.went_on = time.monotonic()


@pytest.mark.parametrize("http2", [False, True])
def test_streams_that_their_clients_do_not_read_take_little_memory(engine: FakeEngine, http2: bool) -> None:
    streams: list[Endless] = []

    def behave(_: Received) -> Endless:
        streams.append(Endless())
        return streams[-1]

    engine.behave = behave
    body = chat_body("u").replace(b"[{}]", b'[{}],"stream":true')
    with ExitStack() as stack:
        gateway = Gateway(max_body_bytes=16 * MIB, max_heap_bytes=128 * MIB)
        stack.callback(gateway.stop)
        gateway.publish([table([model("acme/both")])], {"acme-both": [engine]})
        for _ in range(10):
            if http2:
                stack.enter_context(Upload(gateway.port)).send(head(), body, 64 * MIB)
            else:
                stack.enter_context(Connection(gateway.port)).send(request(body=body))
        eventually(lambda: len(streams) == 10 and all(time.monotonic() - each.went_on > 1 for each in streams))
        assert pressure(gateway) < 60


@pytest.fixture
def narrow(engine: FakeEngine) -> Iterator[Gateway]:
    """A gateway that has room for a single answer of 1 MiB at a time."""
    gateway = Gateway(max_body_bytes=4 * MIB, max_held_bytes=3 * MIB // 2)
    gateway.publish([table([model("acme/both")])], {"acme-both": [engine]})
    yield gateway
    gateway.stop()


PART = b"a" * MIB


class Gated(list[Reply]):
    """An answer whose last part waits for `gate`."""

    def __init__(self, parts: list[Reply], gate: Event) -> None:
        super().__init__(parts)
        self._gate = gate

    def __iter__(self) -> Iterator[Reply]:
        yield from self[:-1]
        self._gate.wait(20)
        yield self[-1]


def test_answers_that_would_take_too_much_memory_while_they_arrive_are_503_and_all_others_pass(
    narrow: Gateway, engine: FakeEngine
) -> None:
    released = Event()
    [whole] = reply(200, b'{"object":"chat.completion","choices":[],"x":"%s"}' % PART)
    assert isinstance(whole, bytes)
    engine.behave = lambda _: Gated([whole[:-1], whole[-1:]], released)
    body = {"model": "acme/both", "messages": [{}]}
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(call, narrow.port, body=body) for _ in range(2)]
        arrived = "cluster.pool/models/acme-both.upstream_cx_rx_bytes_total"
        eventually(lambda: narrow.stat(arrived) > 2 * (len(whole) - 2))
        released.set()
        answered, refused = sorted((each.result() for each in calls), key=lambda answer: answer.status)
    assert (answered.status, told_of(refused)) == (200, BUSY)
    assert 0 < int(refused.header("retry-after") or 0) <= 60
    line = narrow.access_log(refused.header("x-request-id") or "")
    assert (line["code"], line["status"], line["served"]) == ("region_capacity_unavailable", 503, "pool")
    assert call(narrow.port, body=body).status == 200, "there is room again"


def test_lines_of_streams_that_would_take_too_much_memory_end_in_an_error_event(
    narrow: Gateway, engine: FakeEngine
) -> None:
    begun = f"data: {chunk('c-1', 'a')}\n\n".encode()
    line = [b'data: {"choices":[],"x":"', PART, PART, b'"}\n\ndata: [DONE]\n\n']
    told = Event()  # until then the line has no end, however much of it arrives at once
    engine.behave = lambda _: Gated(stream(begun, *line, finished=False), told)
    answer = call(narrow.port, body={"model": "acme/both", "messages": [{}], "stream": True})
    told.set()
    first, last = answer.events()
    assert json.loads(first)["choices"]
    assert json.loads(last)["error"]["code"] == "engine_failed"
    engine.behave = None
    assert serves(narrow), "there is room again"


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
