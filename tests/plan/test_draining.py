"""The hook that a pod is held by while its calls end, run by a real bash against real connections."""

import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tomoul.plan.draining import drain_command, follow_command


@pytest.fixture(params=["127.0.0.1", "::1"])
def engine(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((request.param, 0))
        listener.listen()
        yield listener


def hook(engine: socket.socket, drain: int = 30) -> subprocess.Popen[bytes]:
    command = drain_command(drain, port=engine.getsockname()[1], withdrawal_seconds=0)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, b"")


def test_an_engine_without_calls_may_be_stopped_at_once(engine: socket.socket) -> None:
    began = time.monotonic()
    ended(hook(engine))
    assert time.monotonic() - began < 15, "half of what it would wait for calls"


def test_an_engine_is_kept_until_its_last_call_has_ended(engine: socket.socket) -> None:
    first, second = (socket.create_connection(engine.getsockname()[:2]) for _ in range(2))
    answers = [engine.accept()[0] for _ in range(2)]
    process = hook(engine)
    for client, answer in zip((first, second), answers, strict=True):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        client.close()
        answer.close()
    ended(process)


def test_a_call_that_does_not_end_is_waited_for_no_longer_than_the_drain(engine: socket.socket) -> None:
    with socket.create_connection(engine.getsockname()[:2]):
        began = time.monotonic()
        ended(hook(engine, drain=2))
        assert time.monotonic() - began >= 2


def test_connections_to_other_ports_are_none_of_its_business(engine: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_connection(other.getsockname()):
        ended(hook(engine))


def test_nothing_is_asked_before_gateways_have_had_time_to_withdraw_the_pod() -> None:
    began = time.monotonic()
    subprocess.run(drain_command(1, port=1, withdrawal_seconds=2), check=True)
    assert time.monotonic() - began >= 2


def follower(leader: socket.socket, drain: int = 30) -> subprocess.Popen[bytes]:
    command = follow_command(drain, port=leader.getsockname()[1])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_worker_stays_for_as_long_as_its_leader_and_no_longer(engine: socket.socket) -> None:
    with socket.create_connection(engine.getsockname()[:2]):
        leader, _ = engine.accept()
        process = follower(engine)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        leader.close()
        ended(process)


def test_a_worker_that_has_joined_nobody_may_be_stopped_at_once(engine: socket.socket) -> None:
    began = time.monotonic()
    ended(follower(engine))
    assert time.monotonic() - began < 15, "half of what it would wait for its leader"
