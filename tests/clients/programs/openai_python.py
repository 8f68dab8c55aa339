"""What openai-python makes of the gateway: `openai_python.py BASE_URL NAME KEYS` prints it as JSON.

It runs in an environment of its own, so it imports nothing of this repository.
"""

import json
import sys
import time
from typing import Any

import openai
from pydantic import BaseModel

URL, NAME, keys = sys.argv[1:]
KEYS = json.loads(keys)
MODEL = "acme/full"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

client = openai.OpenAI(
    base_url=URL, api_key=KEYS["clients"], max_retries=0, timeout=30, default_headers={"X-Client": NAME}
)


class City(BaseModel):
    city: str
    capital: bool


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


def completion() -> Any:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=messages("answer"), extra_headers={"X-Tomoul-Region": "eu-west"}
    )
    answer = raw.parse()
    return {
        "text": answer.choices[0].message.content,
        "refusal": answer.choices[0].message.refusal,
        "finish_reason": answer.choices[0].finish_reason,
        "model": answer.model,
        "id": answer.id,
        "tokens": answer.usage and answer.usage.total_tokens,
        "region": raw.headers["x-tomoul-region"],
        "request_id": raw.headers["x-request-id"],
    }


def streamed(**fields: Any) -> Any:
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages("answer"), stream=True, **fields))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return {
        "text": "".join(choice.delta.content or "" for choice in choices),
        "finish_reason": choices[-1].finish_reason,
        "ids": sorted({chunk.id for chunk in chunks}),
        "models": sorted({chunk.model for chunk in chunks}),
        "tokens": [chunk.usage.total_tokens for chunk in chunks if chunk.usage],
    }


def tools() -> Any:
    answer = client.chat.completions.create(model=MODEL, messages=messages("answer"), tools=[WEATHER])
    [call] = answer.choices[0].message.tool_calls
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def tools_streamed() -> Any:
    with client.chat.completions.stream(model=MODEL, messages=messages("answer"), tools=[WEATHER]) as stream:
        answer = stream.get_final_completion()
    [call] = answer.choices[0].message.tool_calls
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def parsed() -> Any:
    answer = client.chat.completions.parse(model=MODEL, messages=messages("answer"), response_format=City)
    return answer.choices[0].message.parsed.model_dump()


def models() -> Any:
    return {"listed": [model.id for model in client.models.list()], "one": client.models.retrieve(MODEL).id}


def error(model: str = MODEL, text: str = "answer", headers: dict[str, str] | None = None, **fields: Any) -> Any:
    try:
        answer = client.chat.completions.create(
            model=model, messages=messages(text), extra_headers=headers or {}, **fields
        )
        if fields.get("stream"):
            list(answer)
    except openai.APIStatusError as caught:
        return {
            "class": type(caught).__name__, "status": caught.status_code, "code": caught.code, "type": caught.type,
            "param": caught.param, "request_id": bool(caught.request_id),
        }  # fmt: skip
    except openai.APIError as caught:
        return {"class": type(caught).__name__, "code": caught.code}
    except Exception as caught:
        return {"class": type(caught).__name__}
    return None


def retried(text: str, model: str = MODEL) -> Any:
    """Calls with the client's own retries; the engine counts them."""
    started = time.monotonic()
    try:
        answer = client.with_options(max_retries=2).chat.completions.create(
            model=model, messages=messages(text), extra_headers={"X-Tomoul-Region": "eu-west"}
        )
        outcome = answer.choices[0].message.content
    except openai.APIStatusError as caught:
        outcome = caught.code
    return {"outcome": outcome, "seconds": time.monotonic() - started}


ERRORS: dict[str, dict[str, Any]] = {
    "unknown model": {"model": "acme/none"},
    "model elsewhere": {"model": "acme/us-only", "headers": {"X-Tomoul-Region": "eu-west"}},
    "unknown region": {"headers": {"X-Tomoul-Region": "mars"}},
    "tools of a model without": {"model": "acme/both", "tools": [WEATHER]},
    "no JSON": {"headers": {"Content-Type": "text/plain"}},
    "unknown key": {"headers": {"Authorization": "Bearer sk-nobody"}},
    "key for elsewhere": {"headers": {"Authorization": f"Bearer {KEYS['confined']}", "X-Tomoul-Region": "eu-west"}},
    "key over its limit": {"headers": {"Authorization": f"Bearer {KEYS['spent']}"}},
    "too large": {"text": "x" * 3_000_000},
    "401": {"text": "fail 401"},
    "403": {"text": "fail 403"},
    "422": {"text": "fail 422"},
    "429": {"text": "fail 429"},
    "500": {"text": "fail 500"},
    "no capacity": {"model": "acme/empty"},
    "engine gone": {"text": "cut"},
    "engine gone in a stream": {"text": "cut", "stream": True},
    "engine cut in mid-stream": {"text": "cut later", "stream": True},
    "engine stopped in mid-stream": {"text": "stop later", "stream": True},
    "too slow": {"model": "acme/quick", "text": "sleep"},
}

print(
    json.dumps(
        {
            "version": openai.__version__,
            "completion": completion(),
            "stream": streamed(),
            "stream with usage": streamed(stream_options={"include_usage": True}),
            "tools": tools(),
            "tools in a stream": tools_streamed(),
            "parse": parsed(),
            "models": models(),
            "errors": {name: error(**case) for name, case in ERRORS.items()},
            "retries": {
                "busy": retried("busy"),
                "limited": retried("limited"),
                "too slow": retried("sleep patiently", "acme/quick"),
            },
        }
    )
)
