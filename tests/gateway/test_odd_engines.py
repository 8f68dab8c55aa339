"""Engines that answer what no client could read: it gets OpenAI's shape, and nothing that tells of the engine."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.counting import event, line, tokens
from tests.gateway.harness import MAX_BODY, Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import Platform, pools
from tests.gateway.wire import COMPLETION, Answer, FakeEngine, Reply, call, chunk, reply, stream

DONE = event("[DONE]")
CHUNK = event(chunk("c-1", "a"))
ERROR = reply(200, b'{"error":{"message":"INTERNAL","code":500}}')
EVENTS = stream(CHUNK, DONE)


def completion(**fields: Any) -> bytes:
    """An engine's answer with changed fields; None leaves one out."""
    changed = json.loads(COMPLETION) | fields
    return json.dumps({name: value for name, value in changed.items() if value is not None}).encode()


def bare(status: int, *lines: str) -> list[Reply]:
    """An answer without a body."""
    return ["\r\n".join([f"HTTP/1.1 {status} X", *lines]).encode() + b"\r\n\r\n"]


NO_ANSWERS: dict[str, list[Reply]] = {
    "HTML": reply(200, b"<html>INTERNAL</html>", "text/html"),
    "text": reply(200, b"INTERNAL"),
    "nothing": reply(200, b""),
    "a list": reply(200, b"[1]"),
    "null": reply(200, b"null"),
    "half an object": reply(200, COMPLETION[:-5]),
    "two objects": reply(200, COMPLETION * 2),
    "bytes that are not UTF-8": reply(200, completion(x="y").replace(b'"y"', b'"\xff"')),
    "a byte order mark": reply(200, b"\xef\xbb\xbf" + COMPLETION),
    "a member twice": reply(200, COMPLETION.replace(b"{", b'{"id":"INTERNAL",', 1)),
    "an error with 200": ERROR,
    "no choices": reply(200, completion(choices=None)),
    "choices that are none": reply(200, completion(choices=[1])),
    "another coding": reply(200, b"\x1f\x8bINTERNAL", headers=[("content-encoding", "gzip")]),
    "events": EVENTS,
    "201": reply(201, COMPLETION),
    "206": reply(206, COMPLETION),
    "204": bare(204),
    "304": bare(304, "etag: INTERNAL"),
    "101": bare(101, "upgrade: INTERNAL"),
    "a status of nobody's": reply(999, COMPLETION),
}
NO_STREAMS: dict[str, list[Reply]] = {
    "an answer in one piece": reply(200, COMPLETION),
    "HTML": reply(200, b"<html>INTERNAL</html>", "text/html"),
    "nothing": reply(200, b"", "text/event-stream"),
    "an error with 200": ERROR,
    "another coding": stream(CHUNK, DONE, headers=[("content-encoding", "gzip")]),
    "201": [part.replace(b"200 OK", b"201 X") if isinstance(part, bytes) else part for part in EVENTS],
    "204": bare(204),
}


def is_failed(platform: Platform, answer: Answer) -> None:
    assert (answer.status, answer.header("content-type")) == (502, "application/json")
    assert (answer.error["type"], answer.error["param"], answer.error["code"]) == (
        "server_error",
        None,
        "engine_failed",
    )
    assert answer.header("content-encoding") is None
    assert answer.header("x-tomoul-seed") is None
    assert "INTERNAL" not in f"{answer.headers}{answer.body!r}"
    entry = line(platform.eu, answer)
    assert (entry["status"], entry["code"], entry["served"], tokens(entry)) == (
        502,
        "engine_failed",
        "pool",
        (None,) * 3,
    )


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_an_engines_answer_that_is_no_completion_is_502(platform: Platform, chat: Chat, name: str) -> None:
    platform.engines["full"].behave = lambda _: NO_ANSWERS[name]
    is_failed(platform, chat("acme/full", seed=1))
    assert len(platform.engines["full"].received) == 1


@pytest.mark.parametrize("name", NO_STREAMS)
def test_an_engines_answer_to_a_stream_that_is_no_stream_of_events_is_502(
    platform: Platform, chat: Chat, name: str
) -> None:
    platform.engines["full"].behave = lambda _: NO_STREAMS[name]
    is_failed(platform, chat("acme/full", seed=1, stream=True))


def test_an_answer_is_json_by_its_content_type_too(platform: Platform, chat: Chat) -> None:
    plain = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(COMPLETION), COMPLETION)]
    for replies in (reply(200, COMPLETION, "text/plain"), plain):
        platform.engines["both"].behave = lambda _, replies=replies: replies
        answer = chat()
        assert (answer.status, answer.header("content-type")) == (200, "application/json")


@pytest.mark.parametrize("told", [7, None, ["x"], {"a": 1}])
def test_ids_and_models_are_the_gateways_whatever_an_engine_tells_or_does_not(
    platform: Platform, chat: Chat, told: Any
) -> None:
    platform.engines["both"].behave = lambda _: reply(200, completion(id=told, model=told))
    answer = chat().json()
    assert answer["id"].startswith("chatcmpl_")
    assert answer["model"] == "acme/both"
    events = [json.loads(chunk("c-1", text)) | {"id": told, "model": told} for text in "ab"]
    kept = [{name: value for name, value in each.items() if value is not None} for each in events]
    platform.engines["both"].behave = lambda _: stream(*(event(json.dumps(each)) for each in kept), DONE)
    *chunks, done = chat(stream=True).events()
    assert done == "[DONE]"
    assert len({json.loads(each)["id"] for each in chunks}) == 1
    for each in chunks:
        assert json.loads(each)["id"].startswith("chatcmpl_")
        assert json.loads(each)["model"] == "acme/both"


BROKEN_EVENTS = {
    "text": event("INTERNAL"),
    "half an object": event('{"id":"c-1","choices":['),
    "an object in two lines": b'data: {"id":"c-1",\ndata: "choices":[]}\n\n',
    "HTML": b"<html>INTERNAL</html>\n",
    "llama.cpp's field for errors": b'error: {"message":"INTERNAL"}\n\n',
    "bytes that are not UTF-8": CHUNK.replace(b'"a"', b'"\xff"'),
    "a chunk without choices": event('{"id":"c-1"}'),
    "more than the mark of the end": event("[DONE] INTERNAL"),
}


@pytest.mark.parametrize("name", BROKEN_EVENTS)
def test_a_stream_in_which_something_is_no_chunk_ends_there_in_an_error_event(
    platform: Platform, chat: Chat, name: str
) -> None:
    platform.engines["both"].behave = lambda _: stream(CHUNK, BROKEN_EVENTS[name], CHUNK, DONE)
    answer = chat(region="eu-west", stream=True)
    first, last = answer.events()
    assert json.loads(first)["choices"][0]["delta"] == {"content": "a"}
    assert json.loads(last)["error"]["code"] == "engine_failed"
    assert answer.whole
    assert b"INTERNAL" not in answer.body
    assert line(platform.eu, answer)["code"] == "engine_failed"


@pytest.mark.parametrize("last", [BROKEN_EVENTS["text"], event('{"error":{"message":"x"}}')])
def test_an_engine_that_goes_on_after_it_has_failed_is_cut_soon_and_its_client_let_go(
    platform: Platform, chat: Chat, last: bytes
) -> None:
    engine = platform.engines["both"]
    engine.behave = lambda _: stream(CHUNK, last, *[CHUNK, 0.1] * 100, DONE)
    answer = chat(region="eu-west", stream=True)
    assert not answer.whole, "its end is no clean one"
    assert json.loads(answer.events()[-1])["error"]["code"] == "engine_failed"
    assert line(platform.eu, answer)["code"] == "engine_failed"
    eventually(lambda: engine.disconnects)


@pytest.mark.parametrize(
    "error",
    [
        '{"id":"c-1","error":{"message":"x"}}',
        '{"object":"error","message":"x","code":500}',
        '{"error":"x"}',
        chunk("c-1", "")[:-1] + ',"error":{"message":"x"}}',
        chunk("c-1", "")[:-1] + ',"usage":{"completion_tokens":1},"error":{"message":"x"}}',
    ],
)
def test_an_error_in_a_stream_is_the_last_of_it_wherever_its_engine_puts_it(
    platform: Platform, chat: Chat, error: str
) -> None:
    platform.engines["both"].behave = lambda _: stream(CHUNK, event(error), CHUNK, DONE)
    answer = chat(region="eu-west", stream=True)
    _, last = answer.events()
    assert json.loads(last)["error"] == {
        "message": "x", "type": "server_error", "param": None, "code": "engine_failed"
    }  # fmt: skip
    assert line(platform.eu, answer)["code"] == "engine_failed"


@pytest.mark.parametrize(
    "end", [DONE, DONE * 2, DONE + CHUNK, b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n\r\n"]
)
def test_nothing_follows_the_mark_of_the_end(platform: Platform, chat: Chat, end: bytes) -> None:
    platform.engines["both"].behave = lambda _: stream(CHUNK, end)
    answer = chat(region="eu-west", stream=True)
    assert answer.body.split(b"\n\n", 1)[1].replace(b"\r", b"").replace(b":[", b": [") == DONE
    assert line(platform.eu, answer)["code"] is None


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("where", ["error", "detail", "message"])
def test_an_engines_stack_trace_is_not_shown(platform: Platform, chat: Chat, where: str, status: int) -> None:
    trace = 'Traceback (most recent call last):\n  File "/opt/INTERNAL.py", line 1\nValueError'
    platform.engines["both"].behave = lambda _: reply(status, json.dumps({where: trace}).encode())
    assert chat().error["message"] == f"The engine answered {status}"
    platform.engines["both"].behave = lambda _: stream(CHUNK, event(json.dumps({"error": {"message": trace}})))
    assert b"INTERNAL" not in chat(stream=True).body


def test_several_lines_about_a_clients_mistake_are_shown(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = lambda _: reply(422, json.dumps({"detail": "top_p\n  must be a number"}).encode())
    assert chat().error["message"] == "top_p\n  must be a number"


def test_only_headers_that_are_about_the_answer_reach_clients(platform: Platform, chat: Chat) -> None:
    told = [("x-powered-by", "e"), ("via", "1.1 e"), ("alt-svc", "h3"), ("refresh", "0"), ("retry-after", "5"),
            ("x-should-retry", "true"), ("access-control-allow-origin", "*"), ("x-envoy-decorator-operation", "e"),
            ("cache-control", "no-cache"), ("server", "uvicorn")]  # fmt: skip
    for replies in (reply(200, COMPLETION, headers=told), stream(CHUNK, DONE, headers=told)):
        platform.engines["both"].behave = lambda _, replies=replies: replies
        answer = chat(stream=replies is not None and b"event-stream" in bytes(replies[0]))
        names = {name for name, _ in answer.headers} - {"content-length", "transfer-encoding", "connection", "date"}
        assert names == {"content-type", "cache-control", "server", "x-request-id", "x-tomoul-region"}
        assert answer.header("server") != "uvicorn"


@pytest.fixture
def large(gateway: Gateway) -> Iterator[tuple[Gateway, FakeEngine]]:
    engine = FakeEngine()
    engine.start()
    gateway.publish([table([model("acme/both", pools=pools("both"))])], {"both": [engine]})
    yield gateway, engine
    engine.stop()


def sent(status: int, body: bytes, how: str) -> list[Reply]:
    if how == "length":
        return reply(status, body)
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n" % status
    end = b"0\r\nx-trailer: INTERNAL\r\n\r\n" if how == "trailers" else b"0\r\n\r\n"
    return [head, b"%x\r\n%s\r\n" % (len(body), body), end]


USAGE = {"prompt_tokens": 3, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
CALL = {"model": "acme/both", "messages": [{}]}


@pytest.mark.parametrize("how", ["length", "chunks", "trailers"])
@pytest.mark.parametrize("first", ["x", "usage"])
@pytest.mark.parametrize("excess", [1, 4 * MAX_BODY])
def test_an_answer_past_the_maximum_is_502_with_the_way_out_and_its_tokens_are_counted(
    large: tuple[Gateway, FakeEngine], excess: int, first: str, how: str
) -> None:
    gateway, engine = large
    room = MAX_BODY - len(completion(x="", usage=USAGE))
    whole = sent(200, completion(x="y" * room, usage=USAGE), how)
    engine.behave = lambda _: whole
    assert call(gateway.port, body=CALL).status == 200
    filled = {"x": "INTERNAL".ljust(room + excess), "usage": USAGE}
    told = completion(**{name: filled[name] for name in sorted(filled, key=first.__ne__)})
    engine.behave = lambda _: sent(200, told, how)
    answer = call(gateway.port, body=CALL)
    assert (answer.status, answer.error["code"], answer.header("x-should-retry")) == (502, "answer_too_large", "false")
    assert "`stream: true`" in answer.error["message"]
    assert b"INTERNAL" not in answer.body
    entry = line(gateway, answer)
    assert (entry["status"], entry["code"], tokens(entry)) == (502, "answer_too_large", (3, 7, 2))


@pytest.mark.parametrize("how", ["length", "chunks", "trailers"])
def test_an_error_larger_than_a_body_leaves_without_what_it_says(large: tuple[Gateway, FakeEngine], how: str) -> None:
    gateway, engine = large
    engine.behave = lambda _: sent(400, completion(x="y" * 4 * MAX_BODY), how)
    answer = call(gateway.port, body=CALL)
    assert (answer.status, answer.error["message"]) == (400, "The engine answered 400")
    assert line(gateway, answer)["code"] == "invalid_request"


BEGUN = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"


@pytest.mark.parametrize("status", [200, 201, 500])
def test_an_engine_that_begins_an_answer_and_falls_silent_is_504_and_its_line_says_so(
    platform: Platform, chat: Chat, status: int
) -> None:
    platform.engines["idle"].behave = lambda _: [BEGUN % status, 3.0]
    answer = chat("acme/idle")
    assert (answer.status, answer.error["code"]) == (504, "timeout")
    entry = line(platform.eu, answer)
    assert (entry["status"], entry["code"]) == (504, "timeout")


@pytest.mark.parametrize(
    ("engine", "replies", "code"),
    [("idle", stream(CHUNK, 3.0), "timeout"), ("both", stream(CHUNK, 0.1, finished=False), "engine_failed")],
)
def test_the_line_of_a_stream_that_an_engine_does_not_end_has_a_code(
    platform: Platform, chat: Chat, engine: str, replies: list[Reply], code: str
) -> None:
    platform.engines[engine].behave = lambda _: replies
    answer = chat(f"acme/{engine}", region="eu-west", stream=True)
    assert not answer.whole
    assert line(platform.eu, answer)["code"] == code


def test_a_stream_that_is_cut_behind_its_end_has_not_failed(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = lambda _: stream(CHUNK, DONE, 0.1, finished=False)
    answer = chat(region="eu-west", stream=True)
    assert answer.events()[-1] == "[DONE]"
    assert line(platform.eu, answer)["code"] is None


def test_a_code_that_another_gateway_tells_is_in_that_gateways_line_only(gateway: Gateway) -> None:
    other = FakeEngine()
    other.start()
    told = [("x-tomoul-region", "us-east"), ("x-tomoul-code", "timeout")]
    other.behave = lambda _: reply(504, b'{"error":{"message":"x","type":"server_error","param":null}}', headers=told)
    remote = {"region": "us-east", "url": f"http://127.0.0.1:{other.port}"}
    gateway.publish([table([], remoteGateways=[remote])], {})
    answer = call(gateway.port, body={"model": "a", "messages": [{}]}, headers=[("x-tomoul-region", "us-east")])
    other.stop()
    assert (answer.status, answer.header("x-tomoul-code")) == (504, None)
    entry = line(gateway, answer)
    assert (entry["served"], entry["code"]) == ("region", None)
