"""`seed`: what arrives at the engine, what the client is told of it, and by which fingerprint."""

import json
from typing import Any

import pytest

from tests.gateway.conftest import Chat
from tests.gateway.two_regions import Platform
from tests.gateway.wire import call, chunk, reply, stream

LLAMA = 2**32 - 1


def arrived(platform: Platform, engine: str) -> list[Any]:
    """The seeds that an engine got, None for a call without."""
    return [received.json().get("seed") for received in platform.engines[engine].received]


@pytest.mark.parametrize(
    ("model", "region", "told"),
    [
        ("acme/full", None, "deterministic"),
        ("acme/both", None, "best-effort"),
        ("acme/no-seeds", None, "ignored"),
        ("acme/one-seed", None, "deterministic"),
        ("acme/one-seed", "us-east", "ignored"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_with_a_seed_is_told_what_it_is_worth_where_it_was_served(
    chat: Chat, model: str, region: str | None, told: str, streamed: bool
) -> None:
    assert chat(model, region=region, seed=7, stream=streamed).header("x-tomoul-seed") == told


@pytest.mark.parametrize("model", ["acme/full", "acme/no-seeds", "acme/one-seed"])
@pytest.mark.parametrize("fields", [{}, {"seed": None}])
def test_a_call_without_a_seed_is_told_nothing_of_it(chat: Chat, model: str, fields: dict[str, Any]) -> None:
    answer = chat(model, **fields)
    assert (answer.status, answer.header("x-tomoul-seed")) == (200, None)


def test_a_call_that_another_region_answers_is_told_of_that_regions_seeds(platform: Platform, chat: Chat) -> None:
    platform.publish_eu(without=("one-seed",))
    assert chat("acme/one-seed", seed=7).header("x-tomoul-seed") == "ignored"
    assert chat("acme/one-seed").header("x-tomoul-seed") is None, "the seed was the gateway's own"


def test_an_error_says_nothing_of_the_seed(platform: Platform, chat: Chat) -> None:
    platform.engines["full"].behave = lambda _: reply(500, b"{}")
    assert chat("acme/full", seed=7).header("x-tomoul-seed") is None


@pytest.mark.parametrize(
    ("sent", "got"),
    [(0, 0), (7, 7), (LLAMA - 1, LLAMA - 1), (LLAMA, 0), (LLAMA + 1, 1), (-1, LLAMA - 1),
     (2**63 - 1, (2**63 - 1) % LLAMA)],
)  # fmt: skip
def test_no_seed_is_one_that_the_engine_takes_for_none(platform: Platform, chat: Chat, sent: int, got: int) -> None:
    assert chat("acme/few-seeds", seed=sent).status == 200
    assert arrived(platform, "few-seeds") == [got]


@pytest.mark.parametrize(
    ("sent", "got"), [(2**63 - 1, 2**63 - 1), (-1, 2**63 - 1), (-(2**63), 0), (2**53 + 1, 2**53 + 1)]
)
def test_a_seed_has_64_bits(platform: Platform, chat: Chat, sent: int, got: int) -> None:
    assert chat("acme/both", seed=sent).status == 200
    assert arrived(platform, "both") == [got]


@pytest.mark.parametrize("seed", ["1.5", "1.0", "1e3", '"7"', "true", "[1]", "{}", str(2**63), str(-(2**63) - 1)])
def test_a_seed_that_is_no_whole_number_of_64_bits_is_400(platform: Platform, seed: str) -> None:
    body = f'{{"model":"acme/both","messages":[{{}}],"seed":{seed}}}'.encode()
    answer = call(platform.eu.port, body=body)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_type", "seed")


def test_a_call_without_a_seed_gets_a_random_one_where_the_engine_would_give_all_the_same(
    platform: Platform, chat: Chat
) -> None:
    for _ in range(4):
        chat("acme/one-seed")
        chat("acme/one-seed", seed=None)
    got = arrived(platform, "one-seed")
    assert len(set(got)) == len(got) == 8
    assert all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in got)
    assert chat("acme/one-seed", seed=7).status == 200
    assert arrived(platform, "one-seed")[-1] == 7


def test_a_call_without_a_seed_stays_without_one_elsewhere(platform: Platform, chat: Chat) -> None:
    chat("acme/full")
    chat("acme/no-seeds")
    assert arrived(platform, "full") + arrived(platform, "no-seeds") == [None, None]


def told(answer: Any) -> set[str]:
    """The fingerprints in an answer, in one piece or in chunks."""
    if answer.header("content-type").startswith("text/event-stream"):
        return {json.loads(event)["system_fingerprint"] for event in answer.events()[:-1]}
    return {answer.json()["system_fingerprint"]}


@pytest.mark.parametrize("streamed", [False, True])
def test_answers_and_chunks_carry_the_fingerprint_of_the_pool_that_made_them(chat: Chat, streamed: bool) -> None:
    assert told(chat("acme/full", stream=streamed)) == {"fp_full"}
    assert told(chat("acme/full", cache="no-store", stream=streamed)) == {"fp_full-no-store"}


def test_an_engines_own_fingerprint_is_replaced_in_an_answer_and_in_chunks(platform: Platform, chat: Chat) -> None:
    own = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [],
        "system_fingerprint": "b1",
    }
    platform.engines["full"].behave = lambda _: reply(200, json.dumps(own).encode())
    assert told(chat("acme/full")) == {"fp_full"}
    events = [json.dumps(own), json.dumps({**own, "system_fingerprint": None}), chunk("x", "a"), "[DONE]"]
    platform.engines["full"].behave = lambda _: stream(*(f"data: {event}\n\n".encode() for event in events))
    assert told(chat("acme/full", stream=True)) == {"fp_full"}
