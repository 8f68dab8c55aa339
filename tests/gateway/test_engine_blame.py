"""Errors whose status or code is not what they are about: a mistake has one answer, whichever engine finds it."""

import json

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.counting import event, line
from tests.gateway.two_regions import Platform
from tests.gateway.wire import chunk, reply, stream

MISTAKES = [
    "Failed to parse messages: Missing 'role' in message: {}",
    "Failed to parse tools: Missing tool type: 1; tools = [\n  1\n]",
    "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error",
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    "Unknown reasoning format: x",
]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("message", MISTAKES)
def test_a_clients_mistake_that_llamacpp_takes_for_its_own_is_400_and_no_failure_of_the_engine(
    platform: Platform, chat: Chat, message: str, streams: bool
) -> None:
    told = {"error": {"code": 500, "message": message, "type": "server_error"}}
    platform.engines["both"].behave = lambda _: reply(500, json.dumps(told).encode(), headers=[("retry-after", "5")])
    answer = chat(stream=streams)
    assert (answer.status, answer.header("x-should-retry"), answer.header("retry-after")) == (400, "false", None)
    assert answer.error == {
        "message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request"
    }  # fmt: skip
    entry = line(platform.eu, answer)
    assert (entry["status"], entry["code"], entry["served"]) == (400, "invalid_request", "pool")


def test_what_else_llamacpp_fails_at_stays_its_failure(platform: Platform, chat: Chat) -> None:
    for message in ("Compute error.", "Failed to parse", "x: image input is not supported"):
        platform.engines["both"].behave = lambda _, message=message: reply(
            500, json.dumps({"message": message}).encode()
        )
        answer = chat()
        assert (answer.status, answer.header("x-should-retry"), answer.error["code"]) == (500, None, "engine_failed")


@pytest.mark.parametrize("nested", [True, False])
def test_a_clients_mistake_that_an_engine_finds_in_a_stream_is_told_as_one_and_not_as_the_engines(
    platform: Platform, chat: Chat, nested: bool
) -> None:
    fields = {"message": "token_id(s) [9] in logit_bias", "type": "BadRequestError", "param": "logit_bias", "code": 400}
    told = json.dumps({"error": fields} if nested else {"object": "error", **fields})
    platform.engines["both"].behave = lambda _: stream(event(chunk("c-1", "a")), event(told), event("[DONE]"))
    answer = chat(stream=True, region="eu-west")
    assert len(answer.events()) == 2
    assert json.loads(answer.events()[-1])["error"] == {
        "message": fields["message"],
        "type": "invalid_request_error",
        "param": "logit_bias",
        "code": "invalid_request",
    }
    assert line(platform.eu, answer)["code"] == "invalid_request"


TOO_LONG = {
    "vLLM": "This model's maximum context length is 16 tokens. However, you requested 20 output tokens",
    "vLLM's engine": "The decoder prompt (length 20) is longer than the maximum model length of 16.",
    "SGLang": "The input (20 tokens) is longer than the model's context length (16 tokens).",
    "SGLang, with the answer": "Requested token count exceeds the model's maximum context length of 16 tokens.",
    "llama.cpp": "request (20 tokens) exceeds the available context size (16 tokens), try increasing it",
}


@pytest.mark.parametrize("engine", TOO_LONG)
def test_a_call_past_the_context_window_has_one_code_whichever_engine_says_so(
    platform: Platform, chat: Chat, engine: str
) -> None:
    told = {"object": "error", "message": TOO_LONG[engine], "type": "BadRequestError", "param": None, "code": 400}
    platform.engines["both"].behave = lambda _: reply(400, json.dumps(told).encode())
    answer = chat()
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert answer.error["message"] == TOO_LONG[engine]
    assert line(platform.eu, answer)["code"] == "context_length_exceeded"


def test_an_error_without_words_gets_the_gateways(platform: Platform, chat: Chat) -> None:
    platform.engines["both"].behave = lambda _: reply(400, b'{"error":{"message":"","code":"","param":""}}')
    assert chat().error == {
        "message": "The engine answered 400", "type": "invalid_request_error", "param": None, "code": "invalid_request"
    }  # fmt: skip
