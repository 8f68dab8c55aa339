"""One client connection: an HTTP/1.1 exchange after the other, read with as little work as possible."""

import asyncio
import socket
from dataclasses import dataclass
from time import perf_counter

_HEAD_END = b"\r\n\r\n"
_CHUNKS_END = b"\r\n0\r\n\r\n"
_EVENT = b"data: "
_DONE = b"[DONE]"


@dataclass
class Exchange:
    """What came back. Times in seconds."""

    status: int = 0
    seconds: float = 0.0
    first_chunk_seconds: float = 0.0
    events: int = 0
    """Lines of server-sent data, `[DONE]` included."""
    done: bool = False
    """Whether `[DONE]` came."""
    whole: bool = False
    """Whether the message ended as HTTP says that it must."""


class Connection(asyncio.Protocol):
    """Reads answers with a content-length or in chunks; of a stream's events it counts, and keeps none."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Exchange] | None = None
        self._exchange = Exchange()
        self._begin = 0.0
        self._head: bytes | None = b""
        self._left: int | None = None
        """Bytes of the body still to come; None for chunks."""
        self._tail = b""

    @property
    def open(self) -> bool:
        """Whether another exchange can be had."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A request of 400 KB leaves with one system call.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._transport = None
        self._finish(whole=False)

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.abort()

    def exchange(self, request: bytes) -> asyncio.Future[Exchange]:
        """Send `request`; the answer, whole or broken off."""
        self._answer = asyncio.get_running_loop().create_future()
        self._exchange, self._head, self._tail = Exchange(), b"", b""
        self._begin = perf_counter()
        if self._transport:
            self._transport.write(request)
        else:
            self._finish(whole=False)
        return self._answer

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._head is not None:
            self._head += data
            head, found, data = self._head.partition(_HEAD_END)
            if not found:
                return
            self._head = None
            self._exchange.status = int(head[9:12])
            _, length, rest = head.lower().partition(b"\r\ncontent-length:")
            self._left = int(rest.partition(b"\r\n")[0]) if length else None
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._finish(whole=True)
        elif data:
            self._take_chunks(data)

    def _take_chunks(self, data: bytes) -> None:
        # Seven bytes of what came before: an event's start and the end of all may be cut in two.
        window, overlap = self._tail + data, self._tail[-(len(_EVENT) - 1) :]
        events = (overlap + data).count(_EVENT)
        if events and not self._exchange.events:
            self._exchange.first_chunk_seconds = perf_counter() - self._begin
        self._exchange.events += events
        self._exchange.done = self._exchange.done or _DONE in window
        if window.endswith(_CHUNKS_END):
            self._finish(whole=True)
        self._tail = window[-len(_CHUNKS_END) :]

    def _finish(self, *, whole: bool) -> None:
        if self._answer and not self._answer.done():
            self._exchange.seconds = perf_counter() - self._begin
            self._exchange.whole = whole
            self._answer.set_result(self._exchange)
