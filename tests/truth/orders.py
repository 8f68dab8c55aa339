"""Orders of calls that catch a cache that lies: each is a sentence of what is asked after what."""

import json
import random
import secrets

from tests.truth.endpoint import TENANTS, Call, Endpoint
from tests.truth.oracle import BEGINNING, Oracle, Scope

FIRST, SECOND, _ = TENANTS
WORDS = " that the tide brings in, takes away, and brings in again before anybody has looked;" * 4


def fresh_prompt() -> str:
    """A prompt that no cache can know, of more tokens than any engine caches together."""
    return f"{secrets.token_hex(8)}: tell me all{WORDS} and then stop."


def twice_is_a_hit(endpoint: Endpoint, model: str) -> None:
    call = Call(FIRST, model, fresh_prompt())
    assert endpoint.counted(call).cached < BEGINNING
    again = endpoint.counted(call)
    assert again.cached == endpoint.most(again)
    assert again.cached > again.prompt // 2


def no_store_and_then_cacheable_is_a_miss(endpoint: Endpoint, model: str) -> None:
    for tenant in (FIRST, SECOND):
        prompt = fresh_prompt()
        assert endpoint.counted(Call(FIRST, model, prompt, no_store=True)).cached == 0
        assert endpoint.counted(Call(tenant, model, prompt)).cached < BEGINNING


def cacheable_and_then_no_store_is_a_miss(endpoint: Endpoint, model: str) -> None:
    prompt = fresh_prompt()
    endpoint.counted(Call(FIRST, model, prompt))
    for tenant in (FIRST, SECOND, FIRST):
        assert endpoint.counted(Call(tenant, model, prompt, no_store=True)).cached == 0


def another_tenant_gets_nothing(endpoint: Endpoint, model: str) -> None:
    prompt = fresh_prompt()
    for tenant in TENANTS:
        assert endpoint.counted(Call(tenant, model, prompt)).cached < BEGINNING


def a_stream_counts_what_was_cached_if_it_is_asked_to(endpoint: Endpoint, model: str) -> None:
    call = Call(FIRST, model, fresh_prompt())
    counted = endpoint.counted(call)
    answer = endpoint.answer(call, stream=True, stream_options={"include_usage": True})
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    last = json.loads(events[-2])
    assert (last["choices"], last["usage"]["prompt_tokens"]) == ([], counted.prompt)
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == endpoint.most(counted)
    plain = endpoint.answer(call, stream=True)
    assert '"choices":[]' not in plain.text.replace(" ", "")


def at_once(oracle: Oracle, model: str, prompts: int = 6, callers: int = 6) -> None:
    """All tenants ask the same prompts at the same time, with no-store and without."""
    endpoint = oracle.endpoint
    texts = [fresh_prompt() for _ in range(prompts)]
    calls = [Call(tenant, model, text, no_store) for tenant in TENANTS for text in texts for no_store in (False, True)]
    random.Random(7).shuffle(calls)
    oracle.judge(zip(calls, endpoint.counted_together(calls, callers), strict=True))
    last = Call(FIRST, model, fresh_prompt())
    for _ in range(2):
        counted = endpoint.counted(last)
        oracle.judge([(last, counted)])
    if oracle.scopes[model] is not Scope.NOBODY:
        assert counted.cached == endpoint.most(counted), "the cache is still there"
