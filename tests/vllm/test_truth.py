"""A real vLLM, started as the plan renders it, behind a real gateway: what it keeps of its promises."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.truth import orders
from tests.truth.endpoint import Call, Endpoint
from tests.truth.machine import in_any_order
from tests.truth.oracle import BEGINNING, Oracle, Scope
from tests.vllm.engine import ON_A_GPU, Vllm

SALTED, STORED = "test/salted", "test/stored"


@pytest.fixture(scope="module")
def endpoint(vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("tiny")
    vllm.run("tiny_model.py", folder)
    models = [
        vllm.model("salted", folder, {"mode": "Tenant", "noStore": "Isolated"}),
        # Only its pool for no-store calls runs: an engine is slow to start.
        vllm.model("stored", folder, {"mode": "Shared", "noStore": "NotStored"}, 0),
    ]
    with vllm.serve(models) as served:
        yield served


def test_vllm_finds_a_prompt_again(endpoint: Endpoint) -> None:
    orders.twice_is_a_hit(endpoint, SALTED)


def test_vllm_keeps_nothing_of_a_no_store_call(endpoint: Endpoint) -> None:
    orders.no_store_and_then_cacheable_is_a_miss(endpoint, SALTED)


def test_vllm_reads_nothing_for_a_no_store_call(endpoint: Endpoint) -> None:
    orders.cacheable_and_then_no_store_is_a_miss(endpoint, SALTED)


def test_vllm_lets_no_tenant_find_what_another_asked(endpoint: Endpoint) -> None:
    orders.another_tenant_gets_nothing(endpoint, SALTED)


def test_vllm_keeps_its_promises_to_tenants_that_call_at_once(endpoint: Endpoint) -> None:
    orders.at_once(Oracle(endpoint, {SALTED: Scope.TENANT}), SALTED)


def test_vllm_keeps_its_promises_in_any_order_of_calls(endpoint: Endpoint) -> None:
    oracle = Oracle(endpoint, {SALTED: Scope.TENANT})
    in_any_order(oracle)
    assert oracle.hits, "nothing was ever found in a cache, which proves nothing"


def test_vllm_has_no_cache_in_the_pool_for_no_store_calls(endpoint: Endpoint) -> None:
    prompt = orders.fresh_prompt()
    for tenant in ("first", "second", "first"):
        assert endpoint.counted(Call(tenant, STORED, prompt, no_store=True)).cached == 0
    refused = endpoint.answer(Call("first", STORED, prompt))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "region_capacity_unavailable")


@pytest.mark.parametrize("field", ["cache_salt", "kv_transfer_params", "vllm_xargs"])
def test_a_client_of_vllm_can_neither_find_what_another_asked_nor_hide_from_its_own(
    endpoint: Endpoint, field: str
) -> None:
    prompt, chosen = orders.fresh_prompt(), {field: "chosen" if field == "cache_salt" else {"a": 1}}
    endpoint.counted(Call("first", SALTED, prompt), **chosen)
    assert endpoint.counted(Call("second", SALTED, prompt), **chosen).cached < BEGINNING
    again = endpoint.counted(Call("first", SALTED, prompt))
    assert again.cached == endpoint.most(again)


def test_a_stream_of_vllm_counts_the_cached_tokens_if_it_is_asked_to(endpoint: Endpoint) -> None:
    orders.a_stream_counts_what_was_cached_if_it_is_asked_to(endpoint, SALTED)


def test_a_seed_reaches_vllm_on_gpus_and_is_left_out_on_cpus(vllm: Vllm, endpoint: Endpoint) -> None:
    def text(seed: int) -> str:
        call = Call("first", SALTED, "Tell me a story", no_store=True)
        answer = endpoint.answer(call, seed=seed, temperature=1.0, max_tokens=24)
        found: str = answer.json()["choices"][0]["message"]["content"]
        return found

    assert (text(7) == text(7)) == (vllm.machine is ON_A_GPU)
    assert text(7) != text(8)


def test_calls_with_seeds_at_once_do_not_end_vllm(endpoint: Endpoint) -> None:
    """It reads their prompts in parts, since so many tokens are more than one step of its."""
    calls = [Call("first", SALTED, orders.fresh_prompt() + " word" * 60, no_store=True) for _ in range(48)]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(lambda call: endpoint.answer(call, seed=7, temperature=1.0), calls))
    assert [answer.status_code for answer in answers] == [200] * len(calls)
