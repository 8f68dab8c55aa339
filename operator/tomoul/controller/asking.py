"""Asking: pods are asked at ports of theirs, a few at once, while there is one to ask and only then."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TypeVar

from aiohttp import ClientSession, ClientTimeout

PERIOD_SECONDS = 10.0
TIMEOUT_SECONDS = 5.0
AT_ONCE = 8

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Rounds:
    """Rounds of questions, with a pause after each."""

    def __init__(self) -> None:
        self._needed = asyncio.Event()

    def need(self, needed: bool) -> None:
        """Whether there is anything to ask."""
        if needed:
            self._needed.set()
        else:
            self._needed.clear()

    async def run(self, ask: Callable[[], Awaitable[None]]) -> None:
        """For ever."""
        while True:
            await self._needed.wait()
            await ask()
            await asyncio.sleep(PERIOD_SECONDS)


async def ask_all(addresses: Mapping[K, str], ask: Callable[[K, str], Awaitable[T]]) -> dict[K, T]:
    """What `ask` gets from each."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def asked(key: K, address: str) -> T:
        async with limit:
            return await ask(key, address)

    answers = await asyncio.gather(*(asked(key, address) for key, address in addresses.items()))
    return dict(zip(addresses, answers, strict=True))


def asking_session() -> ClientSession:
    """For questions that are given up after `TIMEOUT_SECONDS`."""
    return ClientSession(timeout=ClientTimeout(total=TIMEOUT_SECONDS))


async def read_pod(
    session: ClientSession, address: str, port: int, path: str, *, largest: int, query: Mapping[str, str] | None = None
) -> bytes:
    """The body of the answer to GET `path` of the pod with that IP address.

    OSError, ClientError or TimeoutError if there is none, ValueError if it has more than `largest` bytes.
    """
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}{path}"
    async with session.get(url, params=query, raise_for_status=True, allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > largest:
                raise ValueError(f"more than {largest} bytes at {path}")
        return bytes(body)
