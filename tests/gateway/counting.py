"""An engine that tells its tokens, and what becomes of them."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.gateway.harness import Gateway
from tests.gateway.wire import Answer, Received, Reply, chunk, reply, stream

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


ASKED = {"include_usage": True}


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    """`usage` as an engine tells it."""
    details = None if cached is None else {"cached_tokens": cached}
    total = prompt + completion
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": details,
    }


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def usage_event(prompt: int, completion: int, cached: int | None = None) -> bytes:
    """The last chunk of a stream whose client asked."""
    return event(json.dumps({"id": "c-1", "choices": [], "usage": usage(prompt, completion, cached)}))


def streamed(*parts: bytes | float) -> list[Reply]:
    return stream(event(chunk("c-1", "")), event(chunk("c-1", "Hel")), event(chunk("c-1", "lo")), *parts)


def counting(prompt: int, completion: int, cached: int | None = None) -> Callable[[Received], Sequence[Reply]]:
    """An engine that tells its tokens where OpenAI's contract says that it does."""

    def behave(request: Received) -> Sequence[Reply]:
        body = request.json()
        if not body.get("stream"):
            answer = {"id": "c-1", "choices": [{"message": {"content": "Hello"}}]}
            return reply(200, json.dumps({**answer, "usage": usage(prompt, completion, cached)}).encode())
        asked = (body.get("stream_options") or {}).get("include_usage")
        return streamed(*([usage_event(prompt, completion, cached)] if asked else []), event("[DONE]"))

    return behave


def line(gateway: Gateway, answer: Answer) -> dict[str, Any]:
    return gateway.access_log(answer.header("x-request-id") or "")


def tokens(entry: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(entry[name] for name in TOKENS)


def usages(answer: Answer) -> list[Any]:
    """`usage` of each chunk that has one which is not null."""
    chunks = [json.loads(data) for data in answer.events() if data != "[DONE]"]
    return [each["usage"] for each in chunks if each.get("usage")]
