"""Since when an Envoy owes an answer; what it is sent is tested with a real one, in test_ads.py."""

import pytest

from tests.agent.envoy import resources
from tomoul.gateway.agent.configuration import Configuration, configuration
from tomoul.gateway.agent.messages import TypeUrl
from tomoul.gateway.agent.stream import EnvoyStream, Request, Response


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream(clock: Clock) -> EnvoyStream:
    stream = EnvoyStream("1", clock)
    stream.receive(Request(TypeUrl.CLUSTER, ()))
    return stream


def target(version: int) -> Configuration:
    return configuration(resources({"a": (1,)}, connect_timeout=f"{version}s"), version, None)


def send(stream: EnvoyStream, version: int) -> Response:
    response = stream.next_response(target(version))
    assert response is not None
    return response


def answer(response: Response, error: str | None = None) -> Request:
    return Request(response.type_url, (), response.nonce, "" if error else response.version, error)


@pytest.mark.parametrize("error", [None, "no"])
def test_an_envoy_is_silent_from_what_it_is_sent_until_it_accepts_or_refuses(
    stream: EnvoyStream, clock: Clock, error: str | None
) -> None:
    assert stream.silent_since is None
    clock.time = 5
    sent = send(stream, 1)
    clock.time = 9
    assert stream.silent_since == 5
    stream.receive(answer(sent, error))
    assert stream.silent_since is None


def test_sending_more_is_no_sign_of_life_and_neither_is_a_subscription(stream: EnvoyStream, clock: Clock) -> None:
    send(stream, 1)
    clock.time = 9
    send(stream, 2)
    stream.receive(Request(TypeUrl.LISTENER, ()))
    stream.receive(Request(TypeUrl.CLUSTER, ()))
    assert stream.silent_since == 0


def test_an_answer_to_what_was_replaced_is_a_sign_of_life(stream: EnvoyStream, clock: Clock) -> None:
    first = send(stream, 1)
    second = send(stream, 2)
    clock.time = 9
    stream.receive(answer(first))
    assert stream.silent_since == 9
    stream.receive(answer(second))
    assert stream.silent_since is None


def test_an_answer_of_one_type_does_not_hide_the_silence_of_another(stream: EnvoyStream, clock: Clock) -> None:
    send(stream, 1)
    clock.time = 9
    stream.receive(Request(TypeUrl.ENDPOINTS, ("a",)))
    endpoints = send(stream, 1)
    assert endpoints.type_url is TypeUrl.ENDPOINTS
    stream.receive(Request(TypeUrl.ENDPOINTS, ("a",), endpoints.nonce, endpoints.version))
    assert stream.silent_since == 0
