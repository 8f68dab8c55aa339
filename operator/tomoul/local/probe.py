"""Readiness by HTTP, without a client library: one GET, on a loopback port or a Unix socket."""

import asyncio
import contextlib
import socket
from pathlib import Path

SECONDS = 2.0


async def responds(where: int | Path, path: str) -> bool:
    """Whether GET `path` is answered with 200; `where` is a loopback port or a Unix socket."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await (
                asyncio.open_unix_connection(str(where))
                if isinstance(where, Path)
                else asyncio.open_connection("127.0.0.1", where)
            )
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            status = await reader.readline()
            return status.split(b" ")[1:2] == [b"200"]
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def reserve(port: int) -> socket.socket:
    """Keep a loopback port from other processes that reserve it, until the socket is closed. OSError if it is taken.

    Envoy listens on it seconds later, and until then nobody else could see that it will. The reservation is a name of
    Linux' abstract sockets, which ends with the process.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0tomoul/port/{port}")
    except OSError:
        reservation.close()
        raise
    return reservation
