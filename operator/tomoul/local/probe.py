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


def why_not_free(port: int) -> str | None:
    """Why no server could listen on the loopback port now, such as `is taken`; None if one could."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "is for root alone"
        except OSError:
            return "is taken"
        return None
