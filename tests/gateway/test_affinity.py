"""Calls with the same beginning go to the same replica, where the model asks for it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import COMPLETION, FakeEngine, call, receive, reply

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


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_burst_with_one_beginning_no_replica_gets_more_than_a_quarter_above_the_mean(
    engines: list[FakeEngine], workers: int
) -> None:
    calls, enough = 64, threading.Event()
    for engine in engines:
        engine.behave = lambda _: reply(200, COMPLETION) if enough.wait(20) else []
    gateway = Gateway(workers=workers)
    gateway.publish([table([model("acme/prefix", affinity="Prefix", pools=pools("prefix"))])], {"prefix": engines})
    payload = json.dumps({"model": "acme/prefix", "messages": conversation(1, 0)}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n%s" % (len(payload), payload)
    with ExitStack() as stack:
        stack.callback(gateway.stop)
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(calls)]
        # Twice: over connections to the replicas that are still to be made, and over those that were left.
        for burst in (1, 2):
            enough.clear()
            before = [len(engine.received) for engine in engines]
            for connection in connections:
                connection.sendall(request)
            eventually(lambda burst=burst: sum(len(engine.received) for engine in engines) == burst * calls)
            enough.set()
            assert {receive(connection).status for connection in connections} == {200}
            # Envoy tells a call's beginning in two counters, between which another worker may look.
            most = 1.25 * calls / REPLICAS + (workers - 1)
            assert max(len(engine.received) - had for engine, had in zip(engines, before, strict=True)) <= most


@pytest.mark.parametrize("name", ["acme/prefix", "acme/away"])
def test_a_replica_that_refuses_connections_costs_its_conversations_no_call(
    served: Gateway, engines: list[FakeEngine], name: str
) -> None:
    engines[0].stop()
    for number in range(20):
        assert call(served.port, body={"model": name, "messages": conversation(number, 0)}).status == 200
    assert not engines[0].received


def test_replicas_that_come_and_go_move_no_conversation_but_their_own(
    gateway: Gateway, engines: list[FakeEngine]
) -> None:
    routes = [model("acme/prefix", affinity="Prefix", pools=pools("prefix"))]

    def homes(among: list[FakeEngine]) -> list[int]:
        gateway.publish([table(routes)], {"prefix": among})
        bodies = [{"model": "acme/prefix", "messages": conversation(number, 0)} for number in range(30)]
        return [taken_by(engines, body, gateway.port) for body in bodies]

    all_four, three, again = homes(engines), homes(engines[:3]), homes(engines[::-1])
    assert set(three) == {0, 1, 2}
    assert all(now == before for now, before in zip(three, all_four, strict=True) if before != 3)
    assert again == all_four
