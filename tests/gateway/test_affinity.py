"""Calls with the same beginning go to the same replica, where the model asks for it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import FakeEngine, call, reply

REPLICAS = 4


@pytest.fixture
def engines() -> Iterator[list[FakeEngine]]:
    engines = [FakeEngine(f"replica {number}") for number in range(REPLICAS)]
    for engine in engines:
        engine.start()
    yield engines
    for engine in engines:
        engine.stop()


@pytest.fixture
def served(gateway: Gateway, engines: list[FakeEngine]) -> Gateway:
    routes = [
        model("acme/prefix", affinity="Prefix", pools=pools("prefix")),
        model("acme/away", affinity="Prefix", fallback=["us-east"], pools=pools("away")),
    ]
    remote = [{"region": "us-east", "url": "http://127.0.0.1:1"}]
    gateway.publish([table(routes, remoteGateways=remote)], {"prefix": engines, "away": engines})
    return gateway


def conversation(number: int, turns: int) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": f"I am {number}"}]
    for turn in range(turns):
        messages += [{"role": "assistant", "content": "Go on"}, {"role": "user", "content": f"{turn}"}]
    return messages


def taken_by(engines: list[FakeEngine], body: dict[str, Any], port: int) -> int:
    """Number of the replica that takes the call."""
    before = [len(engine.received) for engine in engines]
    assert call(port, body=body).status == 200
    [taken] = [number for number, engine in enumerate(engines) if len(engine.received) > before[number]]
    return taken


@pytest.mark.parametrize("name", ["acme/prefix", "acme/away"])
def test_a_conversation_stays_at_one_replica_and_conversations_spread(
    served: Gateway, engines: list[FakeEngine], name: str
) -> None:
    homes = {}
    for turn in range(3):
        for number in range(20):
            body = {"model": name, "messages": conversation(number, turn)}
            home = taken_by(engines, body, served.port)
            assert homes.setdefault(number, home) == home
    assert set(homes.values()) == set(range(REPLICAS))


def test_a_prompt_cache_key_goes_before_the_beginning(served: Gateway, engines: list[FakeEngine]) -> None:
    def home(number: int, key: str) -> int:
        messages = conversation(number, 0)
        return taken_by(engines, {"model": "acme/prefix", "messages": messages, "prompt_cache_key": key}, served.port)

    assert len({home(number, "mine") for number in range(12)}) == 1
    assert len({home(0, f"key {number}") for number in range(20)}) > 1


def test_a_beginning_that_all_share_does_not_sink_one_replica(served: Gateway, engines: list[FakeEngine]) -> None:
    calls = 24
    enough = threading.Event()

    def behave(_: Any) -> Any:
        enough.wait(20)
        return reply(200, b"{}")

    for engine in engines:
        engine.behave = behave
    body = {"model": "acme/prefix", "messages": conversation(1, 0)}
    with ThreadPoolExecutor(calls) as executor:
        answers = []
        for number in range(1, calls + 1):
            answers.append(executor.submit(call, served.port, body=body))
            # One after another, since Envoy counts a call once its connection stands.
            eventually(lambda number=number: sum(len(engine.received) for engine in engines) == number)
        enough.set()
        assert {answer.result().status for answer in answers} == {200}
    # A quarter more than the mean, which Envoy rounds up twice.
    assert max(len(engine.received) for engine in engines) <= 1.25 * calls / REPLICAS + 2
