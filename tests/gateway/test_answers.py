"""What a client sees of an engine's answer: ids, streams, errors, headers."""

import json
import re
import time
from typing import Any

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.harness import eventually
from tests.gateway.two_regions import Platform
from tests.gateway.wire import COMPLETION, Reply, call, chunk, named, reply, stream

COMPLETION_ID = re.compile(r"chatcmpl_[0-7][0-9ABCDEFGHJKMNPQRSTVWXYZ]{25}\Z")
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def answer_with(platform: Platform, replies: list[Reply], engine: str = "both") -> None:
    platform.engines[engine].behave = lambda request: replies


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def test_a_completions_id_is_chatcmpl_and_a_ulid_of_now(chat: Chat) -> None:
    ids = [chat().json()["id"] for _ in range(3)]
    assert len(set(ids)) == 3
    for completion_id in ids:
        assert COMPLETION_ID.match(completion_id)
        milliseconds = 0
        for letter in completion_id[len("chatcmpl_") :][:10]:
            milliseconds = milliseconds * 32 + CROCKFORD.index(letter)
        assert abs(milliseconds / 1000 - time.time()) < 60


@pytest.mark.parametrize("region", [None, "us-east"])
def test_all_chunks_of_a_stream_carry_the_same_id_and_done_is_last(chat: Chat, region: str | None) -> None:
    answer = chat("acme/pinned", region=region, stream=True)
    *chunks, done = answer.events()
    assert done == "[DONE]"
    assert len(chunks) == 2
    [completion_id] = {json.loads(data)["id"] for data in chunks}
    assert COMPLETION_ID.match(completion_id)
    assert answer.header("x-tomoul-region") == (region or "eu-west")


def test_the_id_of_another_regions_gateway_passes_untouched(platform: Platform, chat: Chat) -> None:
    served = platform.engines["us-both"]
    answer = chat(region="us-east")
    assert COMPLETION_ID.match(answer.json()["id"])
    log = platform.us.access_log(served.received[0].header("x-request-id") or "")
    assert log["response_bytes"] == len(answer.body)


def test_an_answer_keeps_all_bytes_of_what_it_has_but_the_id_and_the_fingerprint(
    platform: Platform, chat: Chat
) -> None:
    message = '{"content":"\\u00e9 \\"id\\":\\"x\\"","refusal":null,"tool_calls":[{"id":"call_1"}]}'
    choices = f'[{{"message":{message}, "logprobs" : null}}]'
    text = '{"choices":' + choices + ',\n "id" : "a/b", "model":"acme/both", "system_fingerprint":"f", "n":1.0}\n'
    answer_with(platform, reply(200, text.encode()))
    answer = chat()
    new_id = answer.json()["id"]
    told = answer.json()["system_fingerprint"]
    assert answer.body.decode() == text.replace('"a/b"', f'"{new_id}"').replace('"f"', f'"{told}"')
    assert COMPLETION_ID.match(new_id)
    assert int(answer.header("content-length") or 0) == len(answer.body)


def test_tool_call_ids_in_a_stream_are_left_alone(platform: Platform, chat: Chat) -> None:
    """llama.cpp puts the id behind the choices, and tool calls have ids of their own."""
    data = (
        '{"choices":[{"delta":{"tool_calls":[{"id":"call_9","index":0}]}}],"created":1,"id":"chatcmpl-9","object":"c"}'
    )
    answer_with(platform, stream(event(data), event(data), event("[DONE]")))
    first, second, _ = chat(stream=True).events()
    assert first == second
    assert json.loads(first)["choices"][0]["delta"]["tool_calls"][0]["id"] == "call_9"
    assert COMPLETION_ID.match(json.loads(first)["id"])


def test_text_that_looks_like_an_id_in_a_stream_is_left_alone(platform: Platform, chat: Chat) -> None:
    nasty = '"id":"chatcmpl-9"'
    parts = [event(chunk("chatcmpl-9", "x")), event(chunk("chatcmpl-9", nasty)), event("[DONE]")]
    answer_with(platform, stream(*parts))
    _, second, _ = chat(stream=True).events()
    assert json.loads(second)["choices"][0]["delta"]["content"] == nasty


def test_events_are_rewritten_whatever_the_chunks_they_arrive_in(platform: Platform, chat: Chat) -> None:
    whole = b": ping\n\n" + event(chunk("chatcmpl-9", "a")) + event(chunk("chatcmpl-9", "\u00e9")) + event("[DONE]")
    answer_with(platform, stream(whole))
    expected = named(chat(stream=True).body, b"ID")
    assert expected == whole.replace(b"chatcmpl-9", b"ID")
    for size in (1, 7, 64):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        answer_with(platform, stream(*pieces))
        answer = chat(stream=True)
        assert answer.whole
        assert named(answer.body, b"ID") == expected


def test_lines_that_end_in_carriage_returns_stay_so(platform: Platform, chat: Chat) -> None:
    data = chunk("chatcmpl-9", "a")
    answer_with(platform, stream(f"data: {data}\r\n\r\ndata: [DONE]\r\n\r\n".encode()))
    body = chat(stream=True).body
    assert named(body, b"chatcmpl-9") == f"data: {data}\r\n\r\ndata: [DONE]\r\n\r\n".encode()


def test_the_usage_chunk_passes_as_the_engine_sends_it(platform: Platform, chat: Chat) -> None:
    usage = {
        "id": "chatcmpl-9",
        "model": "acme/both",
        "choices": [],
        "usage": {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
    }
    answer_with(platform, stream(event(chunk("chatcmpl-9", "a")), event(json.dumps(usage)), event("[DONE]")))
    asked = chat(stream=True, stream_options={"include_usage": True})
    passed = json.loads(asked.events()[1])
    assert COMPLETION_ID.match(passed.pop("id"))
    assert passed.pop("system_fingerprint")
    del usage["id"]
    assert passed == usage


def test_chunks_of_a_stream_leave_as_they_arrive(platform: Platform, chat: Chat) -> None:
    answer_with(platform, stream(event(chunk("c-1", "a")), 0.4, event(chunk("c-1", "b")), event("[DONE]")))
    answer = chat(stream=True)
    first = next(when for when, data in answer.arrivals if b"data: " in data)
    assert answer.arrivals[-1][0] - first > 0.3


ENGINE_ERRORS: list[tuple[str, int, Any, dict[str, Any]]] = [
    (
        "SGLang: flat, code a number",
        400,
        {"object": "error", "message": "bad \"x\"", "type": "BadRequestError", "param": None, "code": 400},
        {"message": 'bad "x"', "type": "invalid_request_error", "param": None, "code": "invalid_request"},
    ),
    (
        "vLLM: nested, code a number",
        404,
        {"error": {"message": "no such thing", "type": "NotFoundError", "param": "model", "code": 404}},
        {"message": "no such thing", "type": "invalid_request_error", "param": "model", "code": "not_found"},
    ),
    (
        "llama.cpp: nested, no param",
        500,
        {"error": {"code": 500, "message": "it broke", "type": "server_error"}},
        {"message": "it broke", "type": "server_error", "param": None, "code": "engine_failed"},
    ),
    (
        "vLLM: error is a text",
        400,
        {"error": "Too long"},
        {"message": "Too long", "type": "invalid_request_error", "param": None, "code": "invalid_request"},
    ),
    (
        "FastAPI: detail",
        422,
        {"detail": "what is this"},
        {"message": "what is this", "type": "invalid_request_error", "param": None, "code": "invalid_request"},
    ),
    (
        "OpenAI's own shape keeps its code",
        400,
        {"error": {"message": "no", "type": "invalid_request_error", "param": "messages", "code": "too_long"}},
        {"message": "no", "type": "invalid_request_error", "param": "messages", "code": "too_long"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "expected"), [row[1:] for row in ENGINE_ERRORS], ids=[row[0] for row in ENGINE_ERRORS]
)
def test_engines_errors_take_openais_shape(
    platform: Platform, chat: Chat, status: int, body: Any, expected: dict[str, Any]
) -> None:
    answer_with(platform, reply(status, json.dumps(body).encode()))
    answer = chat(region="eu-west")
    assert (answer.status, answer.json()) == (status, {"error": expected})
    assert answer.header("x-tomoul-region") == "eu-west"


@pytest.mark.parametrize("body", [b"", b"Internal Server Error", b"<html>", b'{"error":', b"[1]"])
def test_an_engines_error_that_is_no_json_takes_openais_shape_too(platform: Platform, chat: Chat, body: bytes) -> None:
    answer_with(platform, reply(500, body, "text/plain"))
    answer = chat()
    assert answer.status == 500
    assert answer.error == {
        "message": "The engine answered 500", "type": "server_error", "param": None, "code": "engine_failed"
    }  # fmt: skip
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize("status", [301, 307, 401, 403, 407])
def test_an_engine_that_sends_its_caller_elsewhere_or_asks_for_credentials_is_502(
    platform: Platform, chat: Chat, status: int
) -> None:
    """The caller is the gateway: no client could do what is asked."""
    asked = [("location", "http://elsewhere.example/"), ("www-authenticate", "Basic"), ("proxy-authenticate", "Basic")]
    answer_with(platform, reply(status, b'{"error": "Unauthorized"}', headers=asked))
    answer = chat(region="eu-west")
    assert (answer.status, answer.error["type"], answer.error["code"]) == (502, "server_error", "engine_failed")
    assert [answer.header(name) for name, _ in asked] == [None] * 3


def test_an_engine_that_is_not_ready_yet_is_503_with_retry_after(platform: Platform, chat: Chat) -> None:
    body = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    answer_with(platform, reply(503, json.dumps(body).encode()), "pinned")
    answer = chat("acme/pinned", region="eu-west")
    assert (answer.status, answer.error["code"]) == (503, "region_capacity_unavailable")
    assert 0 < int(answer.header("retry-after") or 0) <= 60


def test_an_error_in_the_middle_of_a_stream_takes_openais_shape(platform: Platform, chat: Chat) -> None:
    error = '{"error": {"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500}}'
    answer_with(platform, stream(event(chunk("c-1", "a")), event(error)))
    _, last = chat(stream=True).events()
    assert json.loads(last)["error"] == {
        "message": "out of memory", "type": "server_error", "param": None, "code": "engine_failed"
    }  # fmt: skip


def test_a_stream_that_an_engine_ends_without_done_ends_in_an_error_event(platform: Platform, chat: Chat) -> None:
    answer_with(platform, stream(event(chunk("c-1", "a")), b'data: {"id":"c-1","cho'))
    answer = chat(stream=True)
    assert answer.whole
    assert json.loads(answer.events()[-1])["error"]["code"] == "engine_failed"
    assert "[DONE]" not in answer.events()


FINISHED = event(json.dumps({"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))


@pytest.mark.parametrize("trailers", [b"", b"x-trailer: a\r\n"])
def test_the_mark_of_the_end_alone_says_that_a_stream_is_whole(platform: Platform, chat: Chat, trailers: bytes) -> None:
    """A `finish_reason` does not: other choices, or usage, may have been lost behind it."""
    for last, is_whole in ((FINISHED, False), (event("[DONE]"), True)):
        sent = stream(event(chunk("c-1", "a")), last, finished=False)
        answer_with(platform, [*sent, b"0\r\n" + trailers + b"\r\n"])
        answer = chat(stream=True)
        assert answer.whole
        assert (answer.events()[-1] == "[DONE]") == is_whole
        if not is_whole:
            assert json.loads(answer.events()[-1])["error"]["code"] == "engine_failed"


def test_a_stream_that_an_engine_cuts_is_never_a_clean_end(platform: Platform, chat: Chat) -> None:
    for region in ("eu-west", "us-east"):
        engine = "both" if region == "eu-west" else "us-both"
        answer_with(platform, stream(event(chunk("c-1", "a")), 0.1, finished=False), engine)
        answer = chat(region=region, stream=True)
        assert len(platform.engines[engine].received) == 1, "a call that began is not sent twice"
        assert not answer.whole


def test_an_engine_cannot_claim_another_region_or_be_taken_for_another_gateway(platform: Platform, chat: Chat) -> None:
    lies = [("x-tomoul-region", "us-east"), ("x-tomoul-code", "lie"), ("x-request-id", "mine")]
    lies += [("x-tomoul-seed", "deterministic"), ("x-ratelimit-limit-requests", "1"), ("set-cookie", "a=b")]
    answer_with(platform, reply(200, COMPLETION, headers=lies))
    answer = chat()
    assert answer.header("x-tomoul-region") == "eu-west"
    assert [answer.header(name) for name, _ in (lies[1], *lies[3:])] == [None] * 4
    assert answer.header("x-request-id") != "mine"
    assert COMPLETION_ID.match(answer.json()["id"])


def test_every_answer_carries_a_request_id_that_the_engine_saw_and_no_client_chose(platform: Platform) -> None:
    seen = set()
    for body in ({"model": "acme/both", "messages": [{}]}, {"model": "no"}, b"x"):
        answer = call(platform.eu.port, body=body, headers=[("x-request-id", "chosen")])
        seen.add(answer.header("x-request-id"))
    assert len(seen) == 3
    assert not seen & {"chosen", None}
    assert platform.engines["both"].received[0].header("x-request-id") in seen


def test_an_engine_is_not_asked_to_compress_what_must_be_rewritten(platform: Platform) -> None:
    call(platform.eu.port, body={"model": "acme/both", "messages": [{}]}, headers=[("accept-encoding", "gzip")])
    assert platform.engines["both"].received[0].header("accept-encoding") is None


def test_an_engine_is_not_asked_for_a_part_of_an_answer_whose_tokens_nobody_would_count(platform: Platform) -> None:
    body = {"model": "acme/both", "messages": [{"role": "user", "content": "Hi"}]}
    answer = call(platform.eu.port, body=body, headers=[("Range", "bytes=9-"), ("range", "bytes=0-1")])
    assert answer.json()["choices"]
    assert platform.engines["both"].received[0].header("range") is None


def test_the_access_log_names_model_region_and_directive_and_holds_no_prompt_or_key(platform: Platform) -> None:
    body = {"model": "both", "messages": [{"role": "user", "content": "a secret prompt"}]}
    headers = [("authorization", "Bearer sk-secret"), ("x-tomoul-cache", "no-store"), ("x-tomoul-region", "eu-west")]
    answer = call(platform.eu.port, body=body, headers=headers)
    entry = platform.eu.access_log(answer.header("x-request-id") or "")
    assert {key: entry[key] for key in ("model", "region", "pin", "cache", "status", "path", "method")} == {
        "model": "acme/both", "region": "eu-west", "pin": "eu-west", "cache": "no-store", "status": 200,
        "path": "/v1/chat/completions", "method": "POST",
    }  # fmt: skip
    assert entry["duration_ms"] >= 0
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z", entry["time"])
    assert "secret" not in platform.eu.output.read_text()


def test_the_access_log_names_the_error(platform: Platform, chat: Chat) -> None:
    answer = chat("acme/us-only", region="eu-west")
    entry = platform.eu.access_log(answer.header("x-request-id") or "")
    assert (entry["code"], entry["status"], entry["model"]) == ("model_not_available_in_region", 404, "acme/us-only")


def test_a_client_that_goes_away_ends_the_call_at_the_engine_within_a_second(platform: Platform) -> None:
    steps = [part for _ in range(200) for part in (event(chunk("c-1", "a")), 0.02)]
    answer_with(platform, stream(*steps, event("[DONE]")))
    body = {"model": "acme/both", "messages": [{}], "stream": True}
    call(platform.eu.port, body=body, close_after=lambda received: b"data: " in received)
    gone = time.monotonic()
    eventually(lambda: platform.engines["both"].disconnects)
    assert platform.engines["both"].disconnects[0] - gone < 1
