"""LoRA adapters on a real llama.cpp: each answers as itself, whoever called before and at the same time."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from tests.contract.calls import cached, complete, fresh_prompt
from tests.local.running import RunningPlatform, model, region, running, write
from tests.local.tiny_adapter import write_tiny_adapter

BASE, LEGAL, POEMS, PLAIN = "test/base", "test/base-legal", "test/base-poems", "test/plain"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A model with two adapters, and the same model alone, whose answers are what the first one's should be."""
    folder = tmp_path_factory.mktemp("adapters")
    adapters = [
        {"id": name, "source": {"file": {"path": str(write_tiny_adapter(folder / f"{seed}.gguf", seed))}}}
        for seed, name in enumerate((LEGAL, POEMS))
    ]
    write(
        folder / "all.yaml",
        region("eu-west"),
        model("base", {"eu-west": 1}, adapters=adapters, cache={"mode": "Shared"}),
        model("plain", {"eu-west": 1}, cache={"mode": "Disabled"}),
    )
    with running(folder) as served:
        yield served


@pytest.fixture(scope="module")
def client(platform: RunningPlatform) -> openai.OpenAI:
    return platform.client()


def answer(client: openai.OpenAI, name: str, prompt: str, **fields: object) -> tuple[str, int]:
    """The likeliest answer as far as it can be told apart, and the cached tokens of its prompt."""
    # Logprobs tell apart what the same characters would not.
    found, _ = complete(
        client, prompt, model=name, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3, **fields
    )
    assert found.model == name
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    told = [(each.token, round(each.logprob, 3)) for token in logprobs.content for each in token.top_logprobs]
    return json.dumps(told), cached(found)


def own_answers(client: openai.OpenAI, prompt: str) -> dict[str, str]:
    return {name: answer(client, name, prompt)[0] for name in (BASE, LEGAL, POEMS)}


def test_the_model_answers_as_without_adapters_and_each_adapter_differently(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    found = own_answers(client, prompt)
    assert found[BASE] == answer(client, PLAIN, prompt)[0]
    assert len(set(found.values())) == 3


def test_nobody_takes_over_what_another_adapter_or_the_model_has_computed(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    wanted = own_answers(client, prompt) | {BASE: answer(client, PLAIN, prompt)[0]}
    for first, second in itertools.permutations((BASE, LEGAL, POEMS), 2):
        for name in (first, second):
            assert answer(client, name, prompt) == (wanted[name], 0), f"{second} after {first}"


def test_calls_at_the_same_time_get_the_answers_of_their_own_adapters(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    wanted = own_answers(client, prompt) | {BASE: answer(client, PLAIN, prompt)[0]}
    names = [BASE, LEGAL, POEMS, BASE, POEMS, LEGAL] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: answer(client, name, prompt), names))
    assert found == [(wanted[name], 0) for name in names]


def test_the_engine_alone_would_answer_the_model_from_the_cache_of_an_adapter(platform: RunningPlatform) -> None:
    """Why a model with adapters runs without a cache: once this fails, llama.cpp has learned to tell them apart."""
    [engine] = platform.engines("eu-west", BASE)
    prompt = [{"role": "user", "content": fresh_prompt()}]

    def ask(**fields: object) -> int:
        body = {"messages": prompt, "max_tokens": 1, "cache_prompt": True} | fields
        found = httpx.post(f"http://127.0.0.1:{engine.port}/v1/chat/completions", json=body, timeout=20).json()
        return int(found["usage"]["prompt_tokens_details"]["cached_tokens"])

    # Of its first tokens, which are those of every prompt, some may lie in a cache.
    first = ask(lora=[{"id": 1, "scale": 1}])
    assert ask() > first + 50


def test_a_client_cannot_choose_adapters_by_a_field_of_the_engine(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    wanted = own_answers(client, prompt)
    meddling = {"lora": [{"id": 1, "scale": 1}]}
    assert answer(client, BASE, prompt, extra_body=meddling)[0] == wanted[BASE]
    assert answer(client, LEGAL, prompt, extra_body=meddling)[0] == wanted[LEGAL]


def test_adapters_are_listed_as_models_with_what_the_model_can_do(platform: RunningPlatform) -> None:
    listed = {card["id"]: card for card in httpx.get(f"{platform.platform.url}/v1/models").json()["data"]}
    assert set(listed) == {BASE, LEGAL, POEMS, PLAIN}
    for name in (LEGAL, POEMS):
        assert listed[name]["parent"] == BASE
        assert listed[name]["capabilities"] == listed[BASE]["capabilities"]
        assert listed[name]["regions"] == ["eu-west"]
