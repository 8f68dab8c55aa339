"""What a seed is worth on a real vLLM on a GPU, in the mode that the plan turns on for it and without.

Answers are compared with the logprob of each token, which follow a difference in the last bits where words may not.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.truth.endpoint import TENANTS, Call, Endpoint
from tests.truth.orders import fresh_prompt
from tests.vllm.engine import Vllm

STEADY, HASTY = "test/steady", "test/hasty"
PINNED = {"image": f"vllm/vllm-openai:v0.32.0@sha256:{'a' * 64}"}
CACHE = {"mode": "Tenant", "noStore": "Isolated"}
TOKENS = 32
COMPANY = 32


class Asked(NamedTuple):
    """A call that is made again and again."""

    prompt: str
    fields: tuple[tuple[str, Any], ...]
    """Of its body."""


class Told(NamedTuple):
    """What a client sees of an answer."""

    text: str
    logprobs: tuple[float, ...]
    seed: str | None


def asked() -> list[Asked]:
    """Greedy and sampled calls with short and long prompts, which no cache can know."""
    greedy, sampled = (("temperature", 0.0),), (("temperature", 1.0), ("seed", 7), ("top_p", 0.95))
    prompts = [fresh_prompt()[:length] for length in (20, 40, 100, 200, 300, 350)]
    return [Asked(prompt, fields) for prompt in prompts for fields in (greedy, sampled)]


@pytest.fixture(scope="module")
def endpoint(vllm_on_a_gpu: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("wide")
    vllm_on_a_gpu.run("tiny_model.py", folder, "wide")

    def model(name: str, seed: str) -> dict[str, Any]:
        promised = {"contextWindow": 1024, "seed": seed}
        return vllm_on_a_gpu.model(name, folder, CACHE, engine=PINNED, capabilities=promised)

    with vllm_on_a_gpu.serve([model("steady", "Deterministic"), model("hasty", "BestEffort")]) as served:
        yield served


def tell(endpoint: Endpoint, model: str, one: Asked, no_store: bool = False, tenant: str = TENANTS[0]) -> Told:
    call = Call(tenant, model, one.prompt, no_store)
    answer = endpoint.answer(call, max_tokens=TOKENS, logprobs=True, **dict(one.fields))
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    numbers = tuple(each["logprob"] for each in choice["logprobs"]["content"])
    return Told(choice["message"]["content"], numbers, answer.headers.get("x-tomoul-seed"))


def in_company(endpoint: Endpoint, model: str, calls: Sequence[Asked]) -> dict[Asked, list[Told]]:
    """Each call three times, among as many others as make 32 of other lengths that run with it."""
    company = [Asked(fresh_prompt()[: 17 + 10 * n], (("temperature", 1.0), ("seed", n))) for n in range(COMPANY)]
    with ThreadPoolExecutor(COMPANY + 3 * len(calls)) as pool:
        others = [pool.submit(tell, endpoint, model, one, False, TENANTS[n % 3]) for n, one in enumerate(company)]
        told = {one: [pool.submit(tell, endpoint, model, one, n == 2) for n in range(3)] for one in calls}
        found = {one: [future.result() for future in futures] for one, futures in told.items()}
        for other in others:
            other.result()
    return found


def test_equal_seeds_of_vllm_give_equal_answers_alone_from_its_cache_and_in_company(endpoint: Endpoint) -> None:
    calls = asked()
    alone = {one: tell(endpoint, STEADY, one) for one in calls}
    assert {told.seed for one, told in alone.items() if "seed" in dict(one.fields)} == {"deterministic"}
    assert sum(len(told.logprobs) for told in alone.values()) > TOKENS * len(calls) / 2, "they end too soon to differ"
    again = {one: tell(endpoint, STEADY, one) for one in calls}
    assert [one for one in calls if again[one] != alone[one]] == [], "what is found in the cache changes answers"
    company = in_company(endpoint, STEADY, calls)
    assert [one for one in calls if {*company[one]} != {alone[one]}] == [], "company changes answers"


def test_other_seeds_of_vllm_give_other_answers_and_so_do_calls_without(endpoint: Endpoint) -> None:
    prompt = fresh_prompt()
    seeded = [tell(endpoint, STEADY, Asked(prompt, (("seed", seed),))) for seed in range(8)]
    unseeded = [tell(endpoint, STEADY, Asked(prompt, ())) for _ in range(8)]
    assert len({told.text for told in seeded}) > 4, "an answer may end at once, and so another one"
    assert len({told.text for told in unseeded}) > 4


def test_without_its_batch_invariant_mode_company_changes_vllms_answers(endpoint: Endpoint) -> None:
    """Without which the first test could not fail."""
    calls = asked()
    alone = {one: tell(endpoint, HASTY, one) for one in calls}
    assert {told.seed for one, told in alone.items() if "seed" in dict(one.fields)} == {"best-effort"}
    company = in_company(endpoint, HASTY, calls)
    assert [one for one in calls if {*company[one]} != {alone[one]}]
