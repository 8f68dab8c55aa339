"""LoRA adapters on a real vLLM: each answers as its weights say, and from its own cache."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import pytest

from tests.truth.endpoint import TENANTS, Call, Endpoint
from tests.truth.oracle import BEGINNING
from tests.truth.orders import fresh_prompt
from tests.vllm.engine import ACCELERATOR, ON_A_CPU, Vllm

MODEL, LEGAL, POEMS = "test/adapted", "acme/legal", "acme/poems"
IDS = {"": MODEL, "legal": LEGAL, "poems": POEMS}
PROMPTS = [f"Who is number {number}?" for number in range(8)]
CLOSE = 0.3
"""How far two ways to compute in bf16 may be apart, in logprob."""


class Served(NamedTuple):
    endpoint: Endpoint
    expected: dict[str, list[float]]
    """By id how sure it is of the first token of each answer, worked out without vLLM."""


@pytest.fixture(scope="module")
def served(vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, adapters = tmp_path_factory.mktemp("tiny"), tmp_path_factory.mktemp("adapters")
    vllm.run("tiny_model.py", folder)
    names = [name for name in IDS if name]
    told = json.loads(vllm.run("tiny_adapters.py", folder, adapters, *names, given=json.dumps(PROMPTS)))
    listed = [{"id": IDS[name], "source": {"file": {"path": str(adapters / name)}}, "rank": 8} for name in names]
    cache = {"mode": "Tenant", "noStore": "Isolated"}
    # As for a GPU also where there is none: on CPUs the plan refuses adapters.
    resources = {"accelerator": ACCELERATOR}
    with vllm.serve([vllm.model("adapted", folder, cache, adapters=listed, resources=resources)]) as endpoint:
        yield Served(endpoint, {IDS[name]: sure for name, sure in told.items()})


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def sureness(endpoint: Endpoint, model: str, prompt: str) -> float:
    """The logprob of the first token of an answer."""
    answer = endpoint.answer(Call(TENANTS[0], model, prompt, no_store=True), max_tokens=1, temperature=0, logprobs=True)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == model
    (token,) = answer.json()["choices"][0]["logprobs"]["content"]
    found: float = token["logprob"]
    return found


def at_once(served: Served, models: Sequence[str]) -> None:
    """Call them all at the same time, and compare."""
    calls = [(model, prompt) for prompt in PROMPTS for model in models]
    with ThreadPoolExecutor(len(calls)) as pool:
        found = dict(zip(calls, pool.map(lambda call: sureness(served.endpoint, *call), calls), strict=True))
    for model in models:
        assert apart([found[model, prompt] for prompt in PROMPTS], served.expected[model]) < CLOSE, model


def test_vllm_answers_as_the_weights_of_each_adapter_say(served: Served) -> None:
    for one, other in combinations(served.expected.values(), 2):
        assert apart(one, other) > 3 * CLOSE, "their answers are too much alike to tell them apart"
    for model, expected in served.expected.items():
        assert apart([sureness(served.endpoint, model, prompt) for prompt in PROMPTS], expected) < CLOSE, model


def test_vllm_answers_so_while_its_adapters_are_called_at_once(served: Served) -> None:
    at_once(served, [LEGAL, POEMS])


def test_vllm_answers_so_while_the_model_and_its_adapters_are_called_at_once(
    vllm_on_a_gpu: Vllm, served: Served
) -> None:
    at_once(served, [MODEL, LEGAL, POEMS])


def test_on_cpus_vllm_answers_the_model_as_an_adapter_that_is_called_beside_it(vllm: Vllm, served: Served) -> None:
    """Why the plan refuses adapters there; once this fails it need not."""
    if vllm.machine is not ON_A_CPU:
        pytest.skip("is about CPUs")
    with pytest.raises(AssertionError, match=MODEL):
        at_once(served, [MODEL, LEGAL, POEMS])


def test_vllm_lets_no_adapter_find_what_the_model_or_another_was_asked(served: Served) -> None:
    prompt = fresh_prompt()
    for model in served.expected:
        assert served.endpoint.ask(Call(TENANTS[0], model, prompt)).cached < BEGINNING, model
    for model in served.expected:
        again = served.endpoint.ask(Call(TENANTS[0], model, prompt))
        assert again.cached == served.endpoint.most(again), model
        assert served.endpoint.ask(Call(TENANTS[1], model, prompt)).cached < BEGINNING, model
        assert served.endpoint.ask(Call(TENANTS[0], model, prompt, no_store=True)).cached == 0, model
