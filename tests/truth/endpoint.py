"""An endpoint with several tenants, and what it and its engines say of the prompt cache."""

import secrets
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from tests.local.waiting import until

REGION = "eu-west"
TENANTS = ("first", "second", "third")
KEYS = {name: f"sk-{secrets.token_hex(20)}" for name in TENANTS}
OUTPUT_TOKENS = 4


@dataclass(frozen=True)
class Call:
    """A chat completion of one message."""

    tenant: str
    model: str
    prompt: str
    no_store: bool = False


@dataclass(frozen=True)
class Counted:
    """What the answer's usage says, in tokens."""

    prompt: int
    cached: int


class Endpoint:
    """A region's gateway, called with the keys of tenants."""

    def __init__(self, url: str, computed: Callable[[str], int], stride: int = 1) -> None:
        """`computed`: prompt tokens that the engines of a model have computed, and not found in a cache, by their own
        count. `stride`: tokens that the engine caches together."""
        self.url, self.computed, self.stride = url, computed, stride
        self.asked: list[Call] = []
        """Every call that was answered, in the order of the answers."""
        self._client = httpx.Client(base_url=url, timeout=120)

    def close(self) -> None:
        self._client.close()

    def answer(self, call: Call, **fields: Any) -> httpx.Response:
        """The answer, whatever its status; `fields` join the body."""
        headers = {"Authorization": f"Bearer {KEYS[call.tenant]}", "X-Tomoul-Region": REGION}
        headers |= {"X-Tomoul-Cache": "no-store"} if call.no_store else {}
        message = {"role": "user", "content": call.prompt}
        body = {"model": call.model, "messages": [message], "max_tokens": OUTPUT_TOKENS, **fields}
        return self._client.post("/v1/chat/completions", json=body, headers=headers)

    def ask(self, call: Call, **fields: Any) -> Counted:
        """What the answer counts; only usage says so."""
        answer = self.answer(call, **fields)
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        # vLLM leaves the details out where nothing was cached.
        details = usage.get("prompt_tokens_details") or {}
        self.asked.append(call)
        return Counted(usage["prompt_tokens"], details.get("cached_tokens") or 0)

    def counted(self, call: Call, **fields: Any) -> Counted:
        """What the answer counts, if the engines have counted the same. Nothing else may call the model meanwhile."""
        (counted,) = self.counted_together([call], 1, **fields)
        return counted

    def counted_together(self, calls: Sequence[Call], at_once: int, **fields: Any) -> list[Counted]:
        """What the answers to calls of one model count, if the engines have counted the same in sum."""
        (model,) = {call.model for call in calls}
        before = self.computed(model)
        with ThreadPoolExecutor(at_once) as pool:
            answers = list(pool.map(lambda call: self.ask(call, **fields), calls))
        missed = sum(each.prompt - each.cached for each in answers)
        # Engines may count a moment after they have answered.
        until(lambda: self.computed(model) - before == missed, f"the engines' count of {missed} computed tokens")
        return answers

    def most(self, counted: Counted) -> int:
        """The most of a prompt that can come from the cache: all but the last token, in whole strides."""
        return (counted.prompt - 1) // self.stride * self.stride


def metric(port: int, name: str) -> int:
    """Sum of an engine's counter over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
    assert lines, f"{name} is not among the engine's metrics"
    return int(sum(float(value) for _, value in lines))


def tenant_documents(names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tenants and the Secrets with their keys, as they are written."""
    documents: list[dict[str, Any]] = []
    for name, key in names.items():
        metadata = {"name": name, "namespace": "tenants"}
        spec = {"apiKeys": {"secretName": name}}
        documents.append({"apiVersion": "tomoul.ai/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec})
        documents.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": key}})
    return documents
