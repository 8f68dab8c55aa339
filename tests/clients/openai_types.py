"""An engine that takes what OpenAI's own types take, as vLLM's does, and answers in their shape."""

import json
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParams
from pydantic import TypeAdapter
from pydantic_core import SchemaValidator, ValidationError

from tests.gateway.wire import Received, Reply, reply, stream

USAGE = {"prompt_tokens": 16, "completion_tokens": 5, "total_tokens": 21}


def _with_lists(schema: Any) -> Any:
    """A schema with lists for iterables, which pydantic takes objects for and checks only as they are read."""
    if isinstance(schema, dict):
        kind = {"type": "list"} if schema.get("type") == "generator" else {}
        return {name: _with_lists(each) for name, each in schema.items()} | kind
    return [_with_lists(each) for each in schema] if isinstance(schema, list) else schema


_PARAMS = SchemaValidator(_with_lists(TypeAdapter(CompletionCreateParams).core_schema))


def typed_engine(request: Received) -> list[Reply]:
    body = request.json()
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage", 0) is None:
        del options["include_usage"]  # null is no choice, to engines as to the gateway
    try:
        _PARAMS.validate_json(json.dumps(body), strict=True)
    except ValidationError as error:
        return reply(400, json.dumps({"object": "error", "message": str(error)[:500], "code": 400}).encode())
    answer = {"id": "cmpl-1", "created": 1796000000, "model": body["model"]}
    if body.get("stream"):
        delta = {"role": "assistant", "content": "Shells"}
        begun = {**answer, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        text = json.dumps({"object": "chat.completion.chunk", **begun})
        return stream(f"data: {text}\n\n".encode(), b"data: [DONE]\n\n")
    message = {"role": "assistant", "content": "Shells and driftwood."}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = {**answer, "object": "chat.completion", "choices": choices, "usage": USAGE}
    return reply(200, json.dumps(whole).encode())
