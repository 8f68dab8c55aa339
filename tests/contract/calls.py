"""Calls that several contract tests make."""

import secrets
from typing import Any

import httpx
import openai
from openai.types.chat import ChatCompletion

CHAT, SOLO, BARE = "tomoul/tiny-chat", "tomoul/tiny-solo", "test/bare"
HERE, THERE = "eu-west", "us-east"
TEMPLATE_TOKENS = 16
"""Tokens that all prompts share, since the chat template begins with them."""


def complete(
    client: openai.OpenAI, prompt: str = "Hello?", region: str | None = None, no_store: bool = False, **fields: Any
) -> tuple[ChatCompletion, str]:
    """An answer and the region that gave it."""
    headers = {"X-Tomoul-Region": region} if region else {}
    headers |= {"X-Tomoul-Cache": "no-store"} if no_store else {}
    arguments = {"model": CHAT, "max_tokens": 32, "messages": [{"role": "user", "content": prompt}]} | fields
    raw = client.chat.completions.with_raw_response.create(extra_headers=headers, **arguments)
    answer = raw.parse()
    assert isinstance(answer, ChatCompletion)
    return answer, raw.headers["x-tomoul-region"]


def cached(answer: ChatCompletion) -> int:
    """Prompt tokens that came from the cache."""
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens_details.cached_tokens or 0


def fresh_prompt() -> str:
    """A prompt that no cache can know."""
    return f"{secrets.token_hex(8)}: tell me what the tide brings in, and what it takes away again."


def post(http: httpx.Client, body: dict[str, Any] | None = None, headers: Any = None) -> httpx.Response:
    """A chat completion without the SDK."""
    message = {"model": CHAT, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello?"}]}
    return http.post("/v1/chat/completions", json=message | (body or {}), headers=headers)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error of a refusal, in OpenAI's shape."""
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert isinstance(error["code"], str)
    assert response.headers["x-request-id"]
    assert response.headers["x-tomoul-region"]
    return error
