"""Completions as OpenAI's own types have them, whatever an engine leaves out or calls its model."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.gateway.conftest import Chat
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer, reply, stream

BARE = {"id": "cmpl-1", "created": 1, "model": "/weights/on-disk"}


def answered(platform: Platform, chat: Chat, choice: dict[str, Any], **fields: Any) -> Answer:
    """A completion with one choice of an engine's."""
    body = {**BARE, "object": "chat.completion", "choices": [choice], **fields}
    platform.engines["both"].behave = lambda _: reply(200, json.dumps(body).encode())
    return chat()


def streamed(platform: Platform, chat: Chat, *texts: str) -> list[Any]:
    """Chunks of a stream of an engine's."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts]
    lines = [{**BARE, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
    events = [f"data: {json.dumps(line)}\n\n".encode() for line in lines]
    platform.engines["both"].behave = lambda _: stream(*events, b"data: [DONE]\n\n")
    return [json.loads(event) for event in chat(stream=True).events()[:-1]]


PLAIN = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_an_answer_names_the_models_public_id_whatever_its_engine_calls_it(platform: Platform, chat: Chat) -> None:
    assert answered(platform, chat, PLAIN).json()["model"] == "acme/both"
    assert chat("both").json()["model"] == "acme/both"


def test_a_completion_has_a_fingerprint_of_what_answered(platform: Platform, chat: Chat) -> None:
    first, second = (answered(platform, chat, PLAIN).json()["system_fingerprint"] for _ in range(2))
    assert first == second


def test_every_chunk_names_the_models_public_id(platform: Platform, chat: Chat) -> None:
    chunks = streamed(platform, chat, "a", '"model":"/weights/on-disk"', "b")
    assert [chunk["model"] for chunk in chunks] == ["acme/both"] * 3
    assert chunks[1]["choices"][0]["delta"]["content"] == '"model":"/weights/on-disk"'


@pytest.mark.parametrize(
    "choice", [PLAIN, {**PLAIN, "message": {"role": "assistant", "content": None, "tool_calls": [CALL]}}]
)
def test_a_choice_has_logprobs_and_its_message_a_refusal_if_only_null(
    platform: Platform, chat: Chat, choice: dict[str, Any]
) -> None:
    [answer] = answered(platform, chat, choice).json()["choices"]
    assert answer == {**choice, "logprobs": None, "message": {**choice["message"], "refusal": None}}


def test_what_an_engine_says_of_refusal_and_logprobs_stays(platform: Platform, chat: Chat) -> None:
    choice = {**PLAIN, "logprobs": {"content": []}, "message": {"role": "assistant", "content": None, "refusal": "No."}}
    assert answered(platform, chat, choice).json()["choices"] == [choice]


def test_an_answers_other_members_keep_their_bytes(platform: Platform, chat: Chat) -> None:
    more = b'"timings":{ "ms":1.50, "n":9007199254740993 }'
    body = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[],%s}' % more
    platform.engines["both"].behave = lambda _: reply(200, body)
    assert more in chat().body


def test_answers_are_what_openais_types_read(platform: Platform, chat: Chat) -> None:
    completion = ChatCompletion.model_validate(answered(platform, chat, PLAIN).json(), strict=True)
    assert completion.choices[0].message.content == "Hi"
    for chunk in streamed(platform, chat, "a", "b"):
        ChatCompletionChunk.model_validate(chunk, strict=True)
