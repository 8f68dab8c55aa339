"""What a seed is worth on the real llama.cpp, through the real gateway.

Answers are compared with the logprob of each token: the tiny model's words seldom follow a difference in the last bits,
these do.
"""

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from tests.local.running import RunningPlatform, model, region, running, write
from tests.local.waiting import until

ALONE, COMPANY = "test/alone", "test/company"
FIRST, SECOND = "east", "west"
SEEDS = (0, 7, -1, 2**32 - 1, 2**63 - 1, -(2**63))
EXCLUSIVE = {"id": ALONE, "ownership": "Exclusive"}


class Told(NamedTuple):
    """What a client sees of an answer."""

    text: str
    logprobs: tuple[float, ...]
    fingerprint: str
    seed: str | None


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    file = tmp_path_factory.mktemp("seeds") / "models.yaml"
    alone = model("alone", {FIRST: 3, SECOND: 1}, model=EXCLUSIVE, cache={"mode": "Disabled"})
    company = model("company", {FIRST: 1}, args=("--parallel", "4"), cache={"mode": "Shared"})
    write(file, region(FIRST), region(SECOND), alone, company)
    with running(file) as served:
        yield served


def ask(client: openai.OpenAI, prompt: str, seed: int | None = None, name: str = ALONE, **fields: Any) -> Told:
    arguments: dict[str, Any] = {"max_tokens": 40, "logprobs": True, "top_logprobs": 1, **fields}
    if seed is not None:
        arguments["seed"] = seed
    raw = client.chat.completions.with_raw_response.create(
        model=name, messages=[{"role": "user", "content": prompt}], **arguments
    )
    told = raw.headers.get("x-tomoul-seed")
    if not fields.get("stream"):
        answer = raw.parse()
        choice = answer.choices[0]
        assert choice.logprobs is not None
        return Told(
            choice.message.content or "",
            tuple(each.logprob for each in choice.logprobs.content or ()),
            answer.system_fingerprint or "",
            told,
        )
    text, logprobs, fingerprints = "", [], set()
    for chunk in raw.parse():
        fingerprints.add(chunk.system_fingerprint)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            logprobs += [each.logprob for each in (choice.logprobs.content if choice.logprobs else None) or ()]
    (fingerprint,) = fingerprints
    return Told(text, tuple(logprobs), fingerprint, told)


def prompts(count: int) -> list[str]:
    return [f"{secrets.token_hex(4)}: what does the tide bring in{', and then' * (n % 7 * 5)}?" for n in range(count)]


def at_once(client: openai.OpenAI, calls: Sequence[tuple[str, int]], name: str = ALONE) -> list[Told]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda each: ask(client, *each, name=name), calls))


def test_equal_seeds_give_equal_answers_over_replicas_in_company_and_streamed(platform: RunningPlatform) -> None:
    client = platform.client(FIRST)
    calls = [(prompt, SEEDS[n % len(SEEDS)]) for n, prompt in enumerate(prompts(12))]
    first = {call: ask(client, *call) for call in calls}
    assert {told.seed for told in first.values()} == {"deterministic"}
    assert sum(len(told.logprobs) for told in first.values()) > 100
    shuffled = [call for _ in range(6) for call in secrets.SystemRandom().sample(calls, len(calls))]
    again = at_once(client, shuffled)
    assert [told for call, told in zip(shuffled, again, strict=True) if told != first[call]] == []
    assert [_prompt_tokens(engine.port) > 0 for engine in platform.engines(FIRST, ALONE)] == [True] * 3
    for call in calls:
        streamed, whole = ask(client, *call, stream=True), first[call]
        # llama.cpp streams no logprob of the token that ends an answer.
        assert len(whole.logprobs) - len(streamed.logprobs) in (0, 1)
        assert streamed == whole._replace(logprobs=whole.logprobs[: len(streamed.logprobs)])


def test_equal_seeds_give_equal_answers_over_restarts(platform: RunningPlatform) -> None:
    client = platform.client(FIRST)
    calls = [(prompt, 11) for prompt in prompts(4)]
    first = [ask(client, *call) for call in calls]
    platform.kill(*platform.engines(FIRST, ALONE))
    until(lambda: _answers(client), "an answer after a restart", 30)
    assert [ask(client, *call) for call in calls] == first


def test_other_seeds_and_no_seed_give_other_answers(platform: RunningPlatform) -> None:
    client = platform.client(FIRST)
    (prompt,) = prompts(1)
    seeded = {ask(client, prompt, seed).text for seed in range(8)}
    assert len(seeded) > 4, "an answer may end at once, and so another one"
    unseeded = [ask(client, prompt) for _ in range(8)]
    assert len({told.text for told in unseeded}) > 4
    assert {told.seed for told in unseeded} == {None}


def test_seeds_that_llama_cpp_takes_for_none_are_seeds(platform: RunningPlatform) -> None:
    client = platform.client(FIRST)
    (prompt,) = prompts(1)
    for seed in (-1, 2**32 - 1, 2**63 - 1):
        assert len({ask(client, prompt, seed) for _ in range(3)}) == 1


def test_regions_of_one_build_and_model_answer_alike_and_each_says_which_it_is(platform: RunningPlatform) -> None:
    (prompt,) = prompts(1)
    east, west = (ask(platform.client(name), prompt, 5) for name in (FIRST, SECOND))
    assert (east.text, east.logprobs) == (west.text, west.logprobs)
    assert east.fingerprint != west.fingerprint


def test_models_tell_what_a_seed_is_worth_in_the_region_that_is_asked(platform: RunningPlatform) -> None:
    cards = {card.id: card.model_dump() for card in platform.client(FIRST).models.list().data}
    assert cards[ALONE]["capabilities"]["seed"] == "deterministic"
    assert cards[COMPANY]["capabilities"]["seed"] == "best_effort"


def test_a_cache_and_company_do_change_answers_which_is_why_they_are_best_effort(platform: RunningPlatform) -> None:
    """Without which the tests above could not fail."""
    client = platform.client(FIRST)
    calls = [(prompt, 3) for prompt in prompts(8)]
    first = {call: ask(client, *call, name=COMPANY) for call in calls}
    again = at_once(client, calls * 4, name=COMPANY)
    assert {told.seed for told in again} == {"best-effort"}
    assert any(told.logprobs != first[call].logprobs for call, told in zip(calls * 4, again, strict=True))


def _prompt_tokens(port: int) -> float:
    """Tokens that an engine has read, by its own count."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("llamacpp:prompt_tokens_total"))


def _answers(client: openai.OpenAI) -> bool:
    try:
        ask(client, "Ready?")
    except openai.OpenAIError:
        return False
    return True
