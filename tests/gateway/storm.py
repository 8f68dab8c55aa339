"""Calls of random shapes with engines of random faults, from one seed: clients that go away, engines that break off,
fall silent or refuse, tries elsewhere. Each call says in its own body what its engines are to do.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.gateway.counting import usage
from tests.gateway.keys import bearer, key_of
from tests.gateway.multiplexed import Multiplexed

TENANTS = ("gold", "silver", "guest")
# What an engine does in the end; those that answer no head may be tried again.
ENDS = ("done", "done", "done", "cut", "no done", "error", "error on", "silent", "refused", "refused", "gone")
IDLE_SECONDS = 3
_HEAD = "HTTP/1.1 %d X\r\nconnection: close\r\n"
_PATH = "/v1/chat/completions"
Client = Callable[[Mapping[str, str], bytes], AsyncGenerator[Mapping[str, str] | bytes]]


@dataclass
class Plan:
    """One call, and what each try of it meets."""

    number: int
    tenant: str
    pin: str | None
    no_store: bool
    stream: bool
    asks_usage: bool
    leaves_after: float | None
    reads_slowly: bool
    padding: int
    """Bytes that its engine adds to each chunk."""
    tries: list[tuple[str, list[float]]]
    """How each ends, and the seconds before each of its chunks."""

    @classmethod
    def of(cls, number: int, dice: random.Random) -> "Plan":
        pauses = (0.0, 0.0, 0.001, 0.02, 0.3, 1.1)
        tries = [(dice.choice(ENDS), dice.choices(pauses, k=dice.randrange(8))) for _ in range(4)]
        return cls(
            number,
            dice.choice(TENANTS),
            dice.choice((None, None, "eu-west", "us-east")),
            dice.random() < 0.3,
            dice.random() < 0.7,
            dice.random() < 0.5,
            dice.choice((0.0, 0.002, 0.05, 0.5, 1.0, 2.0)) if dice.random() < 0.3 else None,
            dice.random() < 0.1,
            dice.choice((0, 0, 0, 0, 0, 0, 0, 300_000)),
            tries,
        )

    def body(self) -> dict[str, Any]:
        asked = {"stream_options": {"include_usage": True}} if self.stream and self.asks_usage else {}
        content = json.dumps({"number": self.number, "padding": self.padding, "tries": self.tries})
        return {"model": "acme/both", "messages": [{"content": content}], "stream": self.stream, **asked}


@dataclass
class Told:
    """What came of a call at its client."""

    plan: Plan
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    left: bool = False
    cut: str = ""

    def events(self) -> list[str]:
        return [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]


@dataclass
class Engine:
    """An engine that does as each call's body says."""

    name: str
    tries: dict[int, int]
    """How often each call has been tried, at all engines."""
    port: int = 0
    seen: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    running: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines) if key}
        body = json.loads(await _body(reader, headers))
        asked = json.loads(body["messages"][0]["content"])
        number = asked["number"]
        at = self.tries[number] = self.tries.get(number, -1) + 1
        self.seen.append((number, headers, body))
        self.running += 1
        gone = asyncio.create_task(reader.read(1))
        work = asyncio.create_task(self._do(writer, f"{number}.{at}", number, *asked["tries"][min(at, 3)], body))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            self.running -= 1

    async def _do(
        self, writer: asyncio.StreamWriter, name: str, number: int, end: str, pauses: list[float], body: Any
    ) -> None:
        if end == "gone":
            await asyncio.sleep(sum(pauses) / 8)
            writer.transport.abort()
            return
        if end == "refused":
            writer.write(f"{_HEAD % 503}content-length: 2\r\n\r\n{{}}".encode())
            return
        counted = usage(number + 1, len(pauses))
        if not body.get("stream"):
            await asyncio.sleep(sum(pauses))
            message = {"content": name}
            padding = "x" * json.loads(body["messages"][0]["content"])["padding"]
            choices = [{"message": message}]
            made = json.dumps({"id": "e", "padding": padding, "choices": choices, "usage": counted}).encode()
            sent = {"done": made, "error": b"{}"}.get(end, made[:9])
            length = len(made) if end in ("cut", "silent", "error on") else len(sent)
            head = f"{_HEAD % (500 if end == 'error' else 200)}content-type: application/json\r\n"
            writer.write(f"{head}content-length: {length}\r\n\r\n".encode() + sent)
            if end in ("silent", "error on"):
                await asyncio.sleep(2 * IDLE_SECONDS)
            return

        def put(data: str) -> None:
            writer.write(b"%x\r\n%s\r\n" % (len(data), data.encode()))

        head = f"{_HEAD % 200}content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        for index, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            delta = {"index": 0, "delta": {"content": f"{name}:{index}"}}
            padding = "x" * json.loads(body["messages"][0]["content"])["padding"]
            whole = "data: " + json.dumps({"id": "e", "padding": padding, "choices": [delta]}) + "\n\n"
            cut = len(whole) * (index % 3) // 3
            for part in (whole[:cut], whole[cut:]):
                if part:
                    put(part)
                    await writer.drain()
        if end.startswith("error"):
            put('data: {"error":{"message":"x","type":"y","code":500}}\n\n')
        if end in ("silent", "error on"):
            await asyncio.sleep(2 * IDLE_SECONDS)
        if end in ("silent", "error on", "cut"):
            writer.transport.abort()
            return
        if end == "done":
            last = {"index": 0, "delta": {}, "finish_reason": "stop"}
            put("data: " + json.dumps({"id": "e", "choices": [last]}) + "\n\n")
            put("data: " + json.dumps({"id": "e", "choices": [], "usage": counted}) + "\n\ndata: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


async def ask(client: Client, plan: Plan) -> Told:
    """Make the call, and go away when its plan says so."""
    told = Told(plan)
    headers = dict([bearer(key_of(plan.tenant))]) | {"Content-Type": "application/json"}
    if plan.pin:
        headers["X-Tomoul-Region"] = plan.pin
    if plan.no_store:
        headers["X-Tomoul-Cache"] = "no-store"
    lowered = {key.lower(): value for key, value in headers.items()}
    try:
        async with (
            asyncio.timeout(plan.leaves_after),
            aclosing(client(lowered, json.dumps(plan.body()).encode())) as parts,
        ):
            async for part in parts:
                if isinstance(part, bytes):
                    told.body += part
                    if plan.reads_slowly:
                        await asyncio.sleep(0.05)
                else:
                    told.headers, told.status = part, int(part[":status"])
            told.whole = True
    except TimeoutError:
        told.left = True
    except (httpx.TransportError, ConnectionError) as error:
        told.cut = repr(error)
    return told


async def storm(port: int, plans: list[Plan], at_once: int, change: Callable[[], Awaitable[None]]) -> list[Told]:
    """All calls, `at_once` at a time, half of them by HTTP/2, while `change` is done again and again."""
    room, over = asyncio.Semaphore(at_once), asyncio.Event()

    async def changing() -> None:
        while not over.is_set():
            await change()

    connections = [Multiplexed(port) for _ in range(8)]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(limits=limits, timeout=30) as http:

        async def by_one(headers: Mapping[str, str], body: bytes) -> AsyncGenerator[Mapping[str, str] | bytes]:
            url = f"http://127.0.0.1:{port}{_PATH}"
            async with http.stream("POST", url, content=body, headers=headers) as answer:
                yield {":status": str(answer.status_code), **answer.headers}
                async for part in answer.aiter_raw():
                    yield part

        def by_two(number: int) -> Client:
            return lambda headers, body: connections[number % len(connections)].call(_PATH, headers, body)

        async def call(plan: Plan) -> Told:
            async with room:
                return await ask(by_two(plan.number // 2) if plan.number % 2 else by_one, plan)

        changes = asyncio.create_task(changing())
        told = await asyncio.gather(*map(call, plans))
        over.set()
        await changes
    for connection in connections:
        await connection.close()
    return told
