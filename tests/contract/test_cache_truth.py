"""Orders of calls that catch a promise about the prompt cache that is not kept."""

import openai

from tests.contract.calls import TEMPLATE_TOKENS, THERE, cached, complete, fresh_prompt


def tokens(client: openai.OpenAI, prompt: str, no_store: bool = False, **fields: object) -> tuple[int, int]:
    """Cached tokens and all tokens of a prompt, in the region where one replica serves it."""
    answer, _ = complete(client, prompt, THERE, no_store, **fields)
    assert answer.usage is not None
    return cached(answer), answer.usage.prompt_tokens


def test_a_prompt_twice_is_a_hit(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    first, _ = tokens(client, prompt)
    second, length = tokens(client, prompt)
    assert first <= TEMPLATE_TOKENS
    assert second > length - TEMPLATE_TOKENS


def test_a_prompt_with_no_store_and_then_cacheable_is_a_miss(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    assert tokens(client, prompt, no_store=True)[0] == 0
    assert tokens(client, prompt)[0] <= TEMPLATE_TOKENS


def test_a_prompt_cacheable_and_then_with_no_store_is_a_miss(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    tokens(client, prompt)
    assert tokens(client, prompt, no_store=True)[0] == 0


def test_a_prompt_with_no_store_twice_is_a_miss(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    assert [tokens(client, prompt, no_store=True)[0] for _ in range(3)] == [0, 0, 0]


def test_no_store_does_not_evict_what_others_have_cached(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    tokens(client, prompt)
    for _ in range(8):
        tokens(client, fresh_prompt(), no_store=True)
    hit, length = tokens(client, prompt)
    assert hit > length - TEMPLATE_TOKENS


def test_a_client_cannot_turn_the_cache_on_in_the_pool_without_one(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    meddling = {"cache_prompt": True, "id_slot": 0}
    assert [tokens(client, prompt, no_store=True, extra_body=meddling)[0] for _ in range(2)] == [0, 0]


def test_a_client_cannot_turn_the_cache_off_by_a_field_of_the_engine(client: openai.OpenAI) -> None:
    prompt = fresh_prompt()
    tokens(client, prompt, extra_body={"cache_prompt": False})
    hit, length = tokens(client, prompt, extra_body={"cache_prompt": False})
    assert hit > length - TEMPLATE_TOKENS
