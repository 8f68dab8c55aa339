"""A canary's share of the calls, and what is counted of it, through a real Envoy."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane.process import free_port
from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import NAMESPACE, model, table
from tests.gateway.wire import Answer, FakeEngine, call, chunk, reply, stream
from tomoul.controller.canary_counts import Reading, readings_of
from tomoul.controller.canary_watch import read_gateway

MODEL = "acme/tried"
CALLS = 400
Engines = dict[str, FakeEngine]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    gateway = Gateway(metrics_port=free_port())
    yield gateway
    log = gateway.log()
    gateway.stop()
    assert "tomoul: " not in log, log


@pytest.fixture
def engines() -> Iterator[Engines]:
    engines = {name: FakeEngine(name) for name in ("old", "new", "no-store")}
    for engine in engines.values():
        engine.start()
    yield engines
    for engine in engines.values():
        engine.stop()


def publish(gateway: Gateway, engines: Engines, weight: int = 25, ready: bool = True, **fields: Any) -> None:
    """A model whose canary gets `weight` percent of the calls."""
    pools = [
        {"name": name, "namespace": NAMESPACE, "service": service, "port": 1}
        for name, service in (("default", "old"), ("no-store", "no-store"))
    ]
    canary = {"name": "canary", "namespace": NAMESPACE, "service": "new", "port": 1, "weight": weight}
    routes = [model(MODEL, pools=[*pools, canary], **fields), model("acme/other", pools=pools)]
    known = {"old": [engines["old"]], "no-store": [engines["no-store"]], "new": [engines["new"]] if ready else []}
    gateway.publish([table(routes)], known)


def send(gateway: Gateway, name: str = MODEL, headers: list[tuple[str, str]] | None = None, **fields: Any) -> Answer:
    body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return call(gateway.port, body=body, headers=headers or [])


def counted(gateway: Gateway) -> Reading:
    """What the gateway has counted of the model so far, as the operator reads it."""
    listeners = gateway.bootstrap["static_resources"]["listeners"]
    port = listeners[0]["address"]["socket_address"]["port_value"]
    return readings_of(asyncio.run(read_gateway("127.0.0.1", port))).get(MODEL, Reading())


def calls_since(gateway: Gateway, before: Reading) -> tuple[int, int, int, int]:
    """Calls and errors of the canary, then of the old pods."""
    now = counted(gateway)
    return (
        now.canary.calls - before.canary.calls,
        now.canary.errors - before.canary.errors,
        now.stable.calls - before.stable.calls,
        now.stable.errors - before.stable.errors,
    )


@pytest.mark.parametrize("headers", [[], [("x-tomoul-region", "eu-west")]])
def test_a_canary_gets_its_share_of_the_calls_and_each_is_counted_where_it_went(
    gateway: Gateway, engines: Engines, headers: list[tuple[str, str]]
) -> None:
    publish(gateway, engines)
    before = counted(gateway)
    answers = [send(gateway, headers=headers) for _ in range(CALLS)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.header("x-tomoul-region") for answer in answers} == {"eu-west"}
    new, old = len(engines["new"].received), len(engines["old"].received)
    assert new + old == CALLS
    # Seven standard deviations of a share of 25 %.
    assert abs(new - CALLS / 4) < 61
    eventually(lambda: calls_since(gateway, before) == (new, 0, old, 0))


def test_a_canarys_failures_and_its_first_tokens_are_told_from_those_of_the_old_pods(
    gateway: Gateway, engines: Engines
) -> None:
    publish(gateway, engines, weight=50)
    before = counted(gateway)
    engines["new"].behave = lambda _: reply(500, b'{"error":{"message":"no"}}')
    statuses = [send(gateway).status for _ in range(40)]
    failed = statuses.count(500)
    assert failed == len(engines["new"].received) > 0
    eventually(lambda: calls_since(gateway, before) == (failed, failed, 40 - failed, 0))

    usage = {"prompt_tokens": 50, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 20}}
    last = json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage})
    events = [f"data: {each}\n\n".encode() for each in (chunk("c", "Hi"), last, "[DONE]")]
    engines["new"].behave = lambda _: stream(0.2, *events)
    before = counted(gateway)
    for _ in range(20):
        send(gateway, stream=True)

    def streams() -> bool:
        now = counted(gateway)
        return now.canary.streams + now.stable.streams - before.canary.streams - before.stable.streams == 20

    eventually(streams)
    after = counted(gateway)
    of_new = after.canary.ttft_milliseconds - before.canary.ttft_milliseconds
    of_old = after.stable.ttft_milliseconds - before.stable.ttft_milliseconds
    assert after.canary.computed_tokens - before.canary.computed_tokens == 30 * (
        after.canary.streams - before.canary.streams
    )
    assert of_new / (after.canary.streams - before.canary.streams) >= 190
    assert of_old / (after.stable.streams - before.stable.streams) < 190


def test_a_canary_that_is_full_or_has_no_pod_costs_nobody_an_answer_and_is_charged_with_it(
    gateway: Gateway, engines: Engines
) -> None:
    publish(gateway, engines, weight=50)
    engines["new"].behave = lambda _: reply(503, b'{"error":{"message":"loading"}}')
    before = counted(gateway)
    assert {send(gateway).status for _ in range(40)} == {200}
    missed = len(engines["new"].received)
    assert missed > 0
    eventually(lambda: calls_since(gateway, before) == (missed, missed, 40 - missed, 0))

    publish(gateway, engines, weight=50, ready=False)
    before = counted(gateway)
    assert {send(gateway).status for _ in range(40)} == {200}
    assert len(engines["new"].received) == missed

    def all_charged() -> bool:
        canary, errors, stable, _ = calls_since(gateway, before)
        return canary == errors > 0 and canary + stable == 40

    eventually(all_charged)


def test_calls_that_must_not_be_stored_and_those_to_other_models_never_reach_a_canary(
    gateway: Gateway, engines: Engines
) -> None:
    publish(gateway, engines, weight=50, cache={"mode": "Tenant", "noStore": "NotStored"})
    before = counted(gateway)
    for _ in range(30):
        assert send(gateway, headers=[("x-tomoul-cache", "no-store")]).status == 200
        assert send(gateway, "acme/other").status == 200
    assert not engines["new"].received
    assert len(engines["no-store"].received) == 30
    assert send(gateway).status == 200
    eventually(lambda: sum(calls_since(gateway, before)) == 1)


def test_a_call_that_another_region_tries_here_meets_no_canary(gateway: Gateway, engines: Engines) -> None:
    publish(gateway, engines, weight=50)
    for _ in range(20):
        headers = [("x-tomoul-region", "eu-west"), ("x-tomoul-forwarded", "us-east;fallback")]
        assert send(gateway, headers=headers).status == 200
    assert not engines["new"].received


def test_a_pin_to_another_region_is_not_answered_by_a_canary(gateway: Gateway, engines: Engines) -> None:
    publish(gateway, engines, weight=50)
    for _ in range(10):
        assert send(gateway, headers=[("x-tomoul-region", "us-east")]).status >= 400
    assert not engines["new"].received
    assert not engines["old"].received
