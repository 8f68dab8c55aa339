"""Engines of pods, all in a process of their own. Each says who it is, and of each prompt what its cache has of it.

`python -m tests.prober.engines ADDRESS` reads lines of JSON: `{"start": POD, "region", "pool", "caches", "deaf"}`, of
which it tells the pod's port, and `{"stop": POD}`. Like vLLM's, a cache is keyed by `cache_salt` and the prompt. A
`deaf` engine ignores the salt, so that a test can see that somebody notices.
"""

import asyncio
import json
import re
import sys
from collections import OrderedDict
from typing import Any

KEPT = 50_000
"""Prompts that an engine remembers."""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Engine:
    """What one pod serves."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.pod, self.region, self.pool = order["start"], order["region"], order["pool"]
        self.caches, self._deaf = order["caches"], order.get("deaf", False)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.connections: set[Connection] = set()
        self.server: asyncio.Server | None = None

    def answer(self, body: dict[str, Any]) -> bytes:
        """The whole response."""
        prompt = body["messages"][0]["content"]
        key = ("" if self._deaf else body.get("cache_salt", ""), prompt)
        tokens = len(prompt) // 4 + 1
        cached = tokens if key in self._known else 0
        if self.caches:
            self._known[key] = None
            self._known.move_to_end(key)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        facts = {
            "pod": self.pod, "region": self.region, "pool": self.pool, "caches": self.caches, "cached": cached,
            "tokens": tokens,
        }  # fmt: skip
        usage = {
            "prompt_tokens": tokens,
            "completion_tokens": 1,
            "total_tokens": tokens + 1,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        head = {"id": "cmpl-1", "created": 1, "model": body["model"]}
        text = json.dumps(facts)
        if not body.get("stream"):
            message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return _whole({**head, "object": "chat.completion", "choices": [message], "usage": usage})
        choices: list[dict[str, Any]] = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
        end: list[dict[str, Any]] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
        chunks = [{**head, "object": "chat.completion.chunk", "choices": each} for each in (choices, end)]
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        events = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + b"data: [DONE]\n\n"
        return _STREAM + b"%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)


_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _whole(value: dict[str, Any]) -> bytes:
    data = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


class Connection(asyncio.Protocol):
    """One connection of a gateway's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._data = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._engine.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = LENGTH.search(head)
        if length is None or len(rest) < int(length[1]):
            return
        self._data = rest[int(length[1]) :]
        assert self.transport is not None
        self.transport.write(self._engine.answer(json.loads(rest[: int(length[1])])))


async def main(address: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    engines: dict[str, Engine] = {}
    while line := await reader.readline():
        order = json.loads(line)
        port = 0
        if "start" in order:
            engine = engines[order["start"]] = Engine(order)
            engine.server = await loop.create_server(lambda engine=engine: Connection(engine), address, 0)
            port = engine.server.sockets[0].getsockname()[1]
        elif (found := engines.pop(order["stop"], None)) is not None and found.server is not None:
            found.server.close()
            for connection in list(found.connections):
                if connection.transport is not None:
                    connection.transport.close()
        print(json.dumps({"port": port}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
