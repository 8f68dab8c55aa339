"""The agent's HTTP port: /healthz, /readyz and /metrics."""

import asyncio
import contextlib
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest

TIMEOUT_SECONDS = 5.0


class HealthServer:
    """Answers as long as the event loop runs, which is what /healthz proves: any task that fails ends the process."""

    def __init__(self, port: int, registry: CollectorRegistry, ready: Callable[[], bool], address: str = "") -> None:
        """`port` 0 takes a free one; `ready` says whether /readyz answers 200 or 503. No address means all."""
        self._wanted_port = port
        self._address = address
        self._registry = registry
        self._ready = ready
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        self._server = await asyncio.start_server(self._serve, self._address or None, self._wanted_port)

    async def stop(self) -> None:
        """Close the port."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                words = request.decode("latin-1").split(None, 2)
                status, kind, body = self._answer(words[1] if len(words) > 1 else "")
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()

    def _answer(self, path: str) -> tuple[str, str, bytes]:
        match path.partition("?")[0]:
            case "/metrics":
                return "200 OK", "text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry)
            case "/healthz":
                return "200 OK", "text/plain", b"ok\n"
            case "/readyz" if self._ready():
                return "200 OK", "text/plain", b"ok\n"
            case "/readyz":
                return "503 Service Unavailable", "text/plain", b"Envoy has not accepted a configuration yet\n"
            case _:
                return "404 Not Found", "text/plain", b"there are /healthz, /readyz and /metrics\n"
