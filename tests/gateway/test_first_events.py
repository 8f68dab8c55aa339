"""An engine answers a stream with 200 before it has looked at all of the call: the status waits for the first event."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.counting import event, line
from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import Answer, FakeEngine, call, chunk, stream

CHUNK, DONE = event(chunk("c-1", "a")), event("[DONE]")
COMMENT_SECONDS = 2


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def gateway(engine: FakeEngine) -> Iterator[Gateway]:
    gateway = Gateway(comment_seconds=COMMENT_SECONDS)
    idle = {"requestSeconds": 600, "idleSeconds": 1}
    seeds = {"tools": True, "structuredOutput": True, "jsonMode": True, "seed": "deterministic"}
    models = [
        model("acme/chat", pools=pools("chat"), capabilities=seeds),
        model("acme/idle", pools=pools("chat"), timeouts=idle),
    ]
    gateway.publish([table(models)], {"chat": [engine]})
    yield gateway
    log = gateway.log()
    gateway.stop()
    assert "tomoul: " not in log, log


def streamed(gateway: Gateway, name: str = "acme/chat", **fields: Any) -> Answer:
    body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "stream": True, "seed": 1}
    return call(gateway.port, body=body, **fields)


def told(code: int, message: str = "x") -> bytes:
    return event(json.dumps({"error": {"message": message, "type": "BadRequestError", "param": "p", "code": code}}))


FAILURES = {
    "a mistake": (told(400) + DONE, 400, "invalid_request"),
    "a mistake behind a field that is left out": (b"event: error\n" + told(422) + DONE, 422, "invalid_request"),
    "too long": (told(400, "the maximum context length is 16"), 400, "context_length_exceeded"),
    "llama.cpp's word for a mistake": (told(500, "Failed to parse tools: y"), 400, "invalid_request"),
    "the engine's own": (told(500) + DONE, 500, "engine_failed"),
    "the engine's credentials": (told(401), 500, "engine_failed"),
    "no chunk": (event('{"id":"c-1"}') + CHUNK + DONE, 502, "engine_failed"),
    "no JSON": (b"<html>\n", 502, "engine_failed"),
    "nothing": (b"", 502, "engine_failed"),
    "half an event": (CHUNK[:9], 502, "engine_failed"),
}


@pytest.mark.parametrize("cut", [1, 30, 4096])
@pytest.mark.parametrize("name", FAILURES)
def test_what_goes_wrong_before_the_first_chunk_has_its_own_status(
    gateway: Gateway, engine: FakeEngine, name: str, cut: int
) -> None:
    sent, status, code = FAILURES[name]
    engine.behave = lambda _: stream(*(sent[at : at + cut] for at in range(0, len(sent), cut)))
    answer = streamed(gateway)
    assert (answer.status, answer.header("content-type")) == (status, "application/json"), answer
    assert answer.whole
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert (answer.error["code"], answer.error["type"]) == (
        code, "invalid_request_error" if status < 500 else "server_error"
    )  # fmt: skip
    assert answer.header("x-should-retry") == ("false" if status < 500 else None)
    assert answer.header("x-tomoul-seed") is None
    entry = line(gateway, answer)
    assert (entry["status"], entry["code"], entry["served"]) == (status, code, "pool")


@pytest.mark.parametrize("after", [(20.0,), (CHUNK, 0.2) * 100], ids=["silence", "chunks"])
@pytest.mark.parametrize("name", ["a mistake", "the engine's own", "no chunk"])
def test_an_engine_that_does_not_end_after_it_has_failed_before_the_first_chunk_is_cut_and_its_client_told_soon(
    gateway: Gateway, engine: FakeEngine, name: str, after: tuple[bytes | float, ...]
) -> None:
    sent, status, code = FAILURES[name]
    engine.behave = lambda _: stream(sent.removesuffix(DONE), *after, finished=False)
    cut, started = len(engine.disconnects), time.monotonic()
    answer = streamed(gateway)
    assert time.monotonic() - started < 5
    assert (answer.status, answer.error["code"], answer.whole) == (status, code, True)
    assert set(dict(answer.headers)) == {
        "content-length", "content-type", "date", "server", "x-request-id", "x-tomoul-region", "connection",
        *(["x-should-retry"] if status < 500 else []),
    }  # fmt: skip
    entry = line(gateway, answer)
    assert (entry["status"], entry["code"], entry["served"]) == (status, code, "pool")
    if len(after) > 1:
        eventually(lambda: len(engine.disconnects) > cut)


@pytest.mark.parametrize("trailers", [b"", b"x-trailer: a\r\n"])
def test_a_stream_that_ends_before_its_first_chunk_is_502_with_trailers_too(
    gateway: Gateway, engine: FakeEngine, trailers: bytes
) -> None:
    for before in ((), (b"event: x\n",)):
        engine.behave = lambda _, before=before: [*stream(*before, finished=False), b"0\r\n" + trailers + b"\r\n"]
        answer = streamed(gateway)
        assert (answer.status, answer.error["code"], answer.whole) == (502, "engine_failed", True)


def test_the_status_leaves_together_with_the_first_chunk(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda _: stream(0.5, CHUNK, 0.5, DONE)
    answer = streamed(gateway)
    assert (answer.status, answer.header("x-tomoul-seed")) == (200, "deterministic")
    first, *_, last = answer.arrivals
    assert first[1].startswith(b"HTTP/1.1 200")
    assert b'"content":"a"' in b"".join(data for _, data in answer.arrivals)
    assert last[0] - first[0] > 0.3


def test_a_chunk_that_its_client_does_not_see_is_a_chunk(gateway: Gateway, engine: FakeEngine) -> None:
    usage = event(json.dumps({"id": "c-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}))
    engine.behave = lambda _: stream(usage, told(400))
    answer = streamed(gateway)
    assert answer.status == 200
    assert [json.loads(each)["error"]["code"] for each in answer.events()] == ["invalid_request"]
    engine.behave = lambda _: stream(usage, DONE)
    assert streamed(gateway).body == DONE


def test_the_status_waits_no_longer_than_for_the_first_comment(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda _: stream(2.0 * COMMENT_SECONDS, told(400), DONE)
    started = time.monotonic()
    answer = streamed(gateway)
    came, first = answer.arrivals[0]
    assert came - started < COMMENT_SECONDS + 1.5
    assert first.startswith(b"HTTP/1.1 200")
    assert answer.body.startswith(b":\n\n")
    assert [json.loads(each)["error"]["code"] for each in answer.events()] == ["invalid_request"]
    assert answer.whole
    entry = line(gateway, answer)
    assert (entry["status"], entry["code"]) == (200, "invalid_request")


def test_an_engines_own_comment_ends_the_wait(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda _: stream(b": ping\n\n", 0.5, CHUNK, DONE)
    answer = streamed(gateway)
    assert b": ping" not in answer.arrivals[-1][1]
    assert answer.body.startswith(b": ping\n\n")
    assert answer.events()[-1] == "[DONE]"


def test_an_engine_that_dies_before_the_first_chunk_is_502(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behave = lambda _: stream(0.1, finished=False)
    calls = len(engine.received)
    answer = streamed(gateway)
    assert (answer.status, answer.error["code"], answer.header("x-tomoul-region")) == (502, "engine_failed", "eu-west")
    assert len(engine.received) == calls + 1
    entry = line(gateway, answer)
    assert (entry["status"], entry["code"]) == (502, "engine_failed")


def test_an_engine_that_is_silent_before_the_first_chunk_for_the_models_idle_time_is_504(
    gateway: Gateway, engine: FakeEngine
) -> None:
    engine.behave = lambda _: stream(3.0, CHUNK, DONE)
    answer = streamed(gateway, "acme/idle")
    assert (answer.status, answer.error["code"]) == (504, "timeout")
    assert line(gateway, answer)["code"] == "timeout"


def test_a_client_that_goes_away_while_the_status_waits_ends_the_call_at_the_engine(
    gateway: Gateway, engine: FakeEngine
) -> None:
    engine.behave = lambda _: stream(*([0.1, b"event: x\n"] * 100))
    calls, cut = len(engine.received), len(engine.disconnects)
    body = json.dumps({"model": "acme/chat", "messages": [{}], "stream": True}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        eventually(lambda: len(engine.received) > calls)
    eventually(lambda: len(engine.disconnects) > cut, within=2)


def test_without_comments_the_status_does_not_wait(engine: FakeEngine) -> None:
    gateway = Gateway(comment_seconds=0)
    try:
        gateway.publish([table([model("acme/chat", pools=pools("chat"))])], {"chat": [engine]})
        engine.behave = lambda _: stream(0.5, told(400))
        answer = streamed(gateway)
        assert answer.arrivals[-1][0] - answer.arrivals[0][0] > 0.3
        assert (answer.status, len(answer.events())) == (200, 1)
    finally:
        gateway.stop()
