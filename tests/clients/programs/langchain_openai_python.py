"""What langchain-openai makes of the gateway: `langchain_openai_python.py BASE_URL NAME KEYS` prints it as JSON.

It runs in an environment of its own, so it imports nothing of this repository.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import openai
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL, NAME, keys = sys.argv[1:]
KEYS = json.loads(keys)
MODEL = "acme/full"


class City(BaseModel):
    """A city."""

    city: str
    capital: bool


class GetWeather(BaseModel):
    """The weather of a city."""

    city: str


def chat(model: str = MODEL, headers: dict[str, str] | None = None, retries: int = 0, **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=model, base_url=URL, api_key=KEYS["clients"], max_retries=retries, timeout=30, use_responses_api=False,
        default_headers={"X-Client": NAME, **(headers or {})}, **fields,
    )  # fmt: skip


def completion() -> Any:
    answer = chat(headers={"X-Tomoul-Region": "eu-west"}, include_response_headers=True).invoke("answer")
    metadata = answer.response_metadata
    return {
        "text": answer.content,
        "refusal": answer.additional_kwargs.get("refusal"),
        "finish_reason": metadata["finish_reason"],
        "model": metadata["model_name"],
        "id": metadata["id"],
        "tokens": answer.usage_metadata["total_tokens"],
        "region": metadata["headers"]["x-tomoul-region"],
        "request_id": metadata["headers"]["x-request-id"],
    }


def streamed(**fields: Any) -> Any:
    chunks = list(chat(**fields).stream("answer"))
    finished = [chunk.response_metadata for chunk in chunks if "finish_reason" in chunk.response_metadata]
    return {
        "text": "".join(chunk.content for chunk in chunks),
        "finish_reason": finished[-1]["finish_reason"],
        "models": sorted({each["model_name"] for each in finished}),
        "tokens": [chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata],
    }


def tools() -> Any:
    [call] = chat().bind_tools([GetWeather]).invoke("answer").tool_calls
    return {"name": call["name"], "arguments": call["args"]}


def tools_streamed() -> Any:
    first, *rest = chat().bind_tools([GetWeather]).stream("answer")
    for chunk in rest:
        first += chunk
    [call] = first.tool_calls
    return {"name": call["name"], "arguments": call["args"]}


def parsed() -> Any:
    return chat().with_structured_output(City, method="json_schema").invoke("answer").model_dump()


def error(text: str = "answer", tools: bool = False, stream: bool = False, **fields: Any) -> Any:
    runnable = chat(**fields).bind_tools([GetWeather]) if tools else chat(**fields)
    try:
        list(runnable.stream(text)) if stream else runnable.invoke(text)
    except openai.APIStatusError as caught:
        # LangChain's own classes are kinds of the client's.
        name = next(kind.__name__ for kind in type(caught).__mro__ if kind.__module__.startswith("openai"))
        return {"class": name, "status": caught.status_code, "code": caught.code, "param": caught.param}
    except openai.APIError as caught:
        return {"class": type(caught).__name__, "code": caught.code}
    except Exception as caught:
        return {"class": type(caught).__name__}
    return None


def retried(text: str) -> Any:
    """A call with the client's own retries."""
    started = time.monotonic()
    answer = chat(headers={"X-Tomoul-Region": "eu-west"}, retries=2).invoke(text)
    return {"outcome": answer.content, "seconds": time.monotonic() - started}


ERRORS: dict[str, dict[str, Any]] = {
    "unknown model": {"model": "acme/none"},
    "model elsewhere": {"model": "acme/us-only", "headers": {"X-Tomoul-Region": "eu-west"}},
    "unknown region": {"headers": {"X-Tomoul-Region": "mars"}},
    "tools of a model without": {"model": "acme/both", "tools": True},
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
            "version": version("langchain-openai"),
            "completion": completion(),
            "stream": streamed(stream_usage=False),
            "stream with usage": streamed(stream_usage=True),
            "tools": tools(),
            "tools in a stream": tools_streamed(),
            "parse": parsed(),
            "errors": {name: error(**case) for name, case in ERRORS.items()},
            "retries": {
                "busy": retried("busy"),
                "limited": retried("limited"),
                "too slow": {"outcome": error("sleep patiently", model="acme/quick", retries=2)["code"]},
            },
        }
    )
)
