"""An engine that does what a call's words ask for, tools and structured output included."""

import json
import time
from collections import Counter
from typing import Any

from tests.gateway.wire import Received, Reply, reply, stream

USAGE = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
CITY = {"city": "Paris", "capital": True}


class ClientsEngine:
    """Counts calls by the client's name, its header `x-client`, and the words of its message."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], float] = {}

    def __call__(self, request: Received) -> list[Reply]:
        body = request.json()
        words = body["messages"][-1]["content"]
        client = (request.header("x-client") or "", words)
        self.calls[client] += 1
        what, _, status = words.partition(" ")
        if what == "fail":
            return reply(int(status), json.dumps({"object": "error", "message": words, "code": int(status)}).encode())
        if words == "limited" and self.calls[client] == 1:
            return reply(429, b'{"error":{"message":"slow down"}}', headers=[("retry-after", "1")])
        # For a while, and not once, since the gateway itself tries other pods, or this one again.
        if words == "busy" and time.monotonic() - self._first.setdefault(client, time.monotonic()) < 0.6:
            return reply(503, b'{"error":{"message":"full","code":503}}', headers=[("retry-after", "1")])
        if words == "cut":
            return []
        if what == "sleep":
            return [3.0]
        return _streamed(body, words) if body.get("stream") else _whole(body)


def _whole(body: dict[str, Any]) -> list[Reply]:
    message, finish_reason = _message(body)
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    answer = {"id": "cmpl-1", "object": "chat.completion", "created": 1, "model": "weights/on-disk"}
    return reply(200, json.dumps({**answer, "choices": [choice], "usage": USAGE}).encode())


def _message(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if body.get("tools"):
        [tool] = body["tools"]
        function = {"name": tool["function"]["name"], "arguments": json.dumps({"city": "Paris"})}
        call = {"id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        wanted = response_format["json_schema"]["schema"]["properties"]
        return {"role": "assistant", "content": json.dumps({name: CITY[name] for name in wanted})}, "stop"
    return {"role": "assistant", "content": "Hello"}, "stop"


def _streamed(body: dict[str, Any], words: str) -> list[Reply]:
    message, finish_reason = _message(body)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if calls := message.get("tool_calls"):
        [call] = calls
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        begun = {**call, "index": 0, "function": {"name": name, "arguments": ""}}
        deltas += [{"tool_calls": [begun]}]
        parts = (arguments[:5], arguments[5:])
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts]
    else:
        content = message["content"]
        deltas += [{"content": content[:3]}, {"content": content[3:]}]
    events = [_event([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    if words.endswith("later"):
        return stream(*events[:2], finished=words.startswith("stop"))
    events.append(_event([{"index": 0, "delta": {}, "finish_reason": finish_reason}]))
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(_event([], usage=USAGE))
    return stream(*events, b"data: [DONE]\n\n")


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    chunk = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "weights/on-disk"}
    return b"data: " + json.dumps({**chunk, "choices": choices, **more}).encode() + b"\n\n"
