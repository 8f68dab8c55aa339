"""The fake engine, a process of its own: canned answers, and streams of one chunk per tick.

`python -m benchmarks.gateway.upstream` prints its process id and its two ports as a line of JSON and serves until its
standard input ends. How many chunks a stream has is the request's `max_tokens`.
"""

import asyncio
import json
import os
import re
import socket
import sys
from collections import deque

from benchmarks.gateway.bodies import COMPLETION, STREAM_CHUNKS, STREAM_END, STREAM_USAGE

CHUNK_SECONDS = 0.005
"""Time between two chunks of a stream: 200 tokens a second, faster than most engines."""

_LONGEST_STREAM_REQUEST = 64 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WANTED = re.compile(rb'"max_(?:completion_)?tokens": *(\d+)')


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _json_answer(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


_COMPLETION = _json_answer(COMPLETION)
_OTHER = _json_answer(b'{"object":"list","data":[{"id":"bench/model-00000","object":"model"}],"status":"ok"}')
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNKS = [_http_chunk(chunk) for chunk in STREAM_CHUNKS]
_END = _http_chunk(STREAM_END) + b"0\r\n\r\n"
_END_WITH_USAGE = _http_chunk(STREAM_USAGE) + _END


class Streams:
    """All open streams: a tick sends each its next chunk, which costs less than a timer for each."""

    def __init__(self) -> None:
        self._open: dict[Engine, int] = {}
        self._ticking = False

    def start(self, engine: "Engine", chunks: int) -> None:
        """Send head and first chunk at once, the others by and by."""
        engine.send(_STREAM_HEAD + _CHUNKS[0])
        if chunks < 2:
            return engine.end_stream()
        self._open[engine] = chunks - 1
        if not self._ticking:
            self._ticking = True
            self._later(asyncio.get_running_loop().time())
        return None

    def drop(self, engine: "Engine") -> None:
        """Forget a stream whose client is gone."""
        self._open.pop(engine, None)

    def _later(self, due: float) -> None:
        asyncio.get_running_loop().call_at(due + CHUNK_SECONDS, self._tick, due + CHUNK_SECONDS)

    def _tick(self, due: float) -> None:
        for engine, left in list(self._open.items()):
            engine.send(_CHUNKS[left % len(_CHUNKS)])
            if left > 1:
                self._open[engine] = left - 1
            else:
                del self._open[engine]
                engine.end_stream()
        self._ticking = bool(self._open)
        if self._ticking:
            # A machine that cannot keep up gets fewer ticks, not a burst of them.
            self._later(max(due, asyncio.get_running_loop().time() - CHUNK_SECONDS))


class Engine(asyncio.Protocol):
    """One connection. Bodies need a content-length; long ones are counted, not kept."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._kept: deque[bytes] = deque()
        self._left = 0
        self._length = 0
        self._usage = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._streams.drop(self)

    def send(self, data: bytes) -> None:
        """Write to the client."""
        assert self._transport
        self._transport.write(data)

    def end_stream(self) -> None:
        """Finish the answer as an engine does."""
        self.send(_END_WITH_USAGE if self._usage else _END)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._left:
            return self._take(data)
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            return None
        self._head = b""
        length = _LENGTH.search(head)
        self._left = self._length = int(length[1]) if length else 0
        if head.startswith(b"POST") and self._left:
            return self._take(rest)
        return self.send(_OTHER)

    def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._length <= _LONGEST_STREAM_REQUEST:
            self._kept.append(data)
        if self._left > 0:
            return None
        self._left = 0
        body = b"".join(self._kept)
        self._kept.clear()
        if b'"stream":true' not in body and b'"stream": true' not in body:
            return self.send(_COMPLETION)
        chunks = _WANTED.search(body)
        self._usage = b'"include_usage"' in body
        return self._streams.start(self, int(chunks[1]) if chunks else 1)


async def _serve() -> None:
    loop, streams = asyncio.get_running_loop(), Streams()
    servers = [await loop.create_server(lambda: Engine(streams), "127.0.0.1", 0, backlog=1024) for _ in range(2)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"pid": os.getpid(), "ports": ports}), flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve())
