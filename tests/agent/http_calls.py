"""The least of an HTTP client and server that these tests need."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


async def get(where: Path | int, path: str, method: str = "GET", body: str = "", headers: str = "") -> Answer:
    """One request to a Unix socket or to a port of this machine; each of `headers` ends in CR LF."""
    if isinstance(where, Path):
        reader, writer = await asyncio.open_unix_connection(str(where))
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", where)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}{headers}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode())
        data = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head, _, text = data.decode().partition("\r\n\r\n")
    if not head:
        raise ConnectionError("no answer")
    if "transfer-encoding: chunked" in head.lower():
        text = _dechunk(text)
    return Answer(int(head.split()[1]), text)


def _dechunk(text: str) -> str:
    whole = ""
    while text:
        size, _, text = text.partition("\r\n")
        whole, text = whole + text[: int(size, 16)], text[int(size, 16) + 2 :]
    return whole


@contextlib.asynccontextmanager
async def http_server(answer: str, address: str = "127.0.0.1", headers: str = "") -> AsyncIterator[int]:
    """A server that says the same to every request; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if "content-length:" in head:
                await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
            head = f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
            writer.write((head + answer).encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, address, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def own_address() -> str:
    """An address of this machine that is no loopback address, which EndpointSlices may not hold."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback ones, which the API server refuses in EndpointSlices")
        return str(probe.getsockname()[0])
