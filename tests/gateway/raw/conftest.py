import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.gateway.raw.connection import Connection
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer


@dataclass(frozen=True)
class Ended:
    answers: list[Answer]
    seconds: float


@pytest.fixture(scope="session", autouse=True)
def unfinished_head(shared_platform: Platform) -> Iterator[Future[Ended]]:
    """A client that never finishes its head, from the first test of this folder on, since it takes ten seconds."""

    def wait() -> Ended:
        started = time.monotonic()
        with Connection(shared_platform.eu.port) as connection:
            connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            return Ended(connection.answers(), time.monotonic() - started)

    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(wait)
