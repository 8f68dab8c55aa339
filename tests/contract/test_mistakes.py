"""A client's mistakes before the real llama.cpp: each is a 400 that says so, and none an error of the server's."""

from typing import Any

import httpx
import pytest

from tests.contract.calls import error_of, post

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
ASKED = {"role": "user", "content": "Hi"}


def part(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


def schema(what: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": what}}}


def called(*calls: Any) -> dict[str, Any]:
    answered = {"role": "tool", "content": "x", "tool_call_id": "1"}
    return {"messages": [ASKED, {"role": "assistant", "tool_calls": list(calls)}, answered]}


MISTAKES: dict[str, dict[str, Any]] = {
    "a message without a role": {"messages": [{"content": "x"}]},
    "a role that is no string": {"messages": [{"role": 5, "content": "x"}]},
    "a message that is a number": {"messages": [1]},
    "a message without content": {"messages": [{"role": "user"}]},
    "a name that is no string": {"messages": [{**ASKED, "name": 5}]},
    "a part without its text": part(type="text"),
    "a part of nobody's": part(type="bogus"),
    "an image for a model that sees none": part(type="image_url", image_url={"url": "data:image/png;base64,iVBOR="}),
    "a sound for a model that hears none": part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"}),
    "arguments of a tool that are no JSON": called(
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    ),
    "a call of a tool without its function": called({"id": "1", "type": "function"}),
    "a tool that is a number": {"tools": [1]},
    "a tool of no function": {"tools": [{"type": "function"}]},
    "a tool of another type": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    "a tool whose name is no string": {"tools": [{"type": "function", "function": {"name": 5}}]},
    "a choice of a tool that is not there": {
        "tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "g"}}
    },
    "a schema that is none": schema(True),
    "a schema of no type": schema({"type": "strange"}),
    "no schema at all": {"response_format": {"type": "json_schema"}},
    "a temperature that is no number": {"temperature": "hot"},
    "more choices than there is room for": {"n": 129, "stream": True},
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_clients_mistake_is_400_and_never_an_error_of_the_servers(http: httpx.Client, mistake: str) -> None:
    response = post(http, MISTAKES[mistake])
    assert response.status_code == 400, response.text
    assert error_of(response)["type"] == "invalid_request_error"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("part_of_it", ["bytes=0-9", "bytes=999999-", "bytes=x"])
def test_a_client_that_asks_for_a_part_of_an_answer_gets_all_of_it(http: httpx.Client, part_of_it: str) -> None:
    response = post(http, headers={"Range": part_of_it})
    assert response.status_code == 200
    assert response.json()["usage"]["completion_tokens"] > 0


def test_the_usage_of_several_streamed_choices_is_told_once(http: httpx.Client) -> None:
    asked = {"n": 3, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True}
    text = post(http, asked).text
    assert text.count('"usage":{') == 1
    assert '"completion_tokens":12' in text
    assert text.index('"completion_tokens":12') > text.rindex('"finish_reason":"length"')
