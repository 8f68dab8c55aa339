"""The caller, a process of its own: calls one after the other on each connection, and judges every reply at once.

`python -m tests.prober.caller CONFIG` prints, once a second, a line of JSON with the counts so far, and, once its input
ends, one with all that a judgement of the run needs. The config's `pace` is the most calls a second; 0 sets no bound. A
connection goes through orders: some calls with one prompt that nobody else has, by two tenants, pinned and not, to be
stored and not. So it knows which pods have the prompt from whom.
"""

import asyncio
import json
import random
import re
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.prober.judge import Answered, Asked, fault_of

KEPT_FAULTS = 20
PAUSE = 0.02
"""Seconds until a connection that was refused is tried again."""
ANSWER_SECONDS = 30.0
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
REGION = re.compile(rb"\r\nx-tomoul-region: *([^\r]*)", re.IGNORECASE)


@dataclass
class Report:
    """What has come of the calls."""

    calls: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)
    hits: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: Counter[int] = field(default_factory=Counter)
    """Answers by the second in which they came."""
    refused: list[tuple[float, str, str, str, int, str]] = field(default_factory=list)
    """When, gateway, pin, model, status and code of what was not answered with 200."""
    away: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Calls without a pin that another region than the gateway's answered, by second and gateway."""

    def take(self, asked: Asked, answered: Answered, seen: set[str]) -> None:
        self.calls += 1
        now = time.time()
        self.seconds[int(now)] += 1
        self.kinds[f"{'pinned' if asked.region else 'unpinned'}{' no-store' if asked.no_store else ''}"] += 1
        if fault := fault_of(asked, answered, seen):
            self.wrong += 1
            if len(self.faults) < KEPT_FAULTS:
                self.faults.append(f"{time.strftime('%T')} {fault}: {asked} {answered}")
        if answered.status != 200:
            pin = asked.region or ""
            self.refused.append((now, asked.gateway, pin, asked.model, answered.status, answered.code))
            return
        self.hits += bool(answered.cached)
        if asked.region is None and answered.region != asked.gateway:
            self.away[int(now), asked.gateway] += 1

    def dump(self) -> dict[str, Any]:
        return {
            "calls": self.calls, "wrong": self.wrong, "faults": self.faults, "hits": self.hits, "kinds": self.kinds,
            "seconds": sorted(self.seconds.items()), "refused": self.refused,
            "away": [[second, gateway, count] for (second, gateway), count in sorted(self.away.items())],
        }  # fmt: skip


class Connection(asyncio.Protocol):
    """One exchange after the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waits: asyncio.Future[tuple[bytes, bytes] | None] | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._end(None)

    def exchange(self, request: bytes) -> "asyncio.Future[tuple[bytes, bytes] | None]":
        """Head and body of the answer; None if there is none, or not all of it."""
        self._waits, self._data = asyncio.get_running_loop().create_future(), b""
        if self.transport is None:
            self._end(None)
        else:
            self.transport.write(request)
        return self._waits

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = LENGTH.search(head)
        if (len(rest) >= int(length[1])) if length else rest.endswith(b"0\r\n\r\n"):
            if b"\r\nconnection: close" in head.lower() and self.transport is not None:
                self.transport.close()
                self.transport = None
            self._end((head, rest))

    def _end(self, answer: tuple[bytes, bytes] | None) -> None:
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(answer)


def answered(head: bytes, body: bytes) -> Answered:
    """Read a whole answer."""
    status = int(head[9:12])
    found = REGION.search(head)
    region = found[1].decode() if found else ""
    if b"text/event-stream" in head:
        chunks = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
        text = "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"])
        usage = next((each["usage"] for each in reversed(chunks) if each.get("usage")), None)
    else:
        try:
            value = json.loads(body)
        except ValueError:
            return Answered(status, region)
        if status != 200:
            return Answered(status, region, str((value.get("error") or {}).get("code") or ""))
        text, usage = value["choices"][0]["message"]["content"], value.get("usage")
    cached = usage["prompt_tokens_details"]["cached_tokens"] if usage else None
    return Answered(status, region, "", cached, json.loads(text))


class Caller:
    """What all connections share."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._regions: dict[str, int] = config["gateways"]
        self._keys: dict[str, str] = config["keys"]
        self._models: list[dict[str, Any]] = config["models"]
        pace = config["pace"]
        self._interval = len(self._regions) * config["connections"] / pace if pace else 0.0
        self._run = uuid.uuid4().hex[:8]
        self.report = Report()
        self.stopping = False

    async def run(self, gateway: str, number: int) -> None:
        """Orders on one connection until `stopping`."""
        chance = random.Random(f"{self._run} {gateway} {number}")
        loop = asyncio.get_running_loop()
        connection = Connection()
        order, due = 0, loop.time()
        while not self.stopping:
            order += 1
            model = chance.choice(self._models)
            prompt = f"prompt {self._run} {gateway} {number} {order}"
            pin = self._pin(chance, gateway)
            seen: dict[str, set[str]] = {tenant: set() for tenant in self._keys}
            for _ in range(chance.randrange(4, 9)):
                if connection.transport is None:
                    try:
                        address = ("127.0.0.1", self._regions[gateway])
                        _, connection = await loop.create_connection(Connection, *address)
                    except OSError:
                        self.report.seconds[int(time.time())] += 0
                        await asyncio.sleep(PAUSE)
                        break
                # Slower than its pace, a connection does not try to catch up.
                due = max(due + self._interval, loop.time())
                await asyncio.sleep(due - loop.time())
                tenant = chance.choice(list(self._keys))
                if chance.random() < 0.2:
                    pin = self._pin(chance, gateway)
                asked = Asked(gateway, pin, chance.random() < 0.3, tenant, model["id"], model["notStored"])
                answer = await self._call(connection, asked, prompt, stream=chance.random() < 0.06)
                self.report.take(asked, answer, seen[tenant])
                if answer.status == 0:
                    break  # nobody knows which engine has the prompt
                if answer.status == 200 and answer.facts and not asked.no_store:
                    seen[tenant].add(answer.facts["pod"])
                elif answer.status != 200:
                    await asyncio.sleep(PAUSE)

    def _pin(self, chance: random.Random, gateway: str) -> str | None:
        return chance.choice([gateway, gateway, *self._regions, None])

    async def _call(self, connection: Connection, asked: Asked, prompt: str, *, stream: bool) -> Answered:
        fields: dict[str, Any] = {"model": asked.model, "messages": [{"role": "user", "content": prompt}]}
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        body = json.dumps(fields).encode()
        pin = f"x-tomoul-region: {asked.region}\r\n" if asked.region else ""
        cache = "x-tomoul-cache: no-store\r\n" if asked.no_store else ""
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: prober\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {self._keys[asked.tenant]}\r\n{pin}{cache}content-length: {len(body)}\r\n\r\n"
        )
        try:
            found = await asyncio.wait_for(connection.exchange(head.encode() + body), ANSWER_SECONDS)
        except TimeoutError:
            if connection.transport is not None:
                connection.transport.abort()
            return Answered(0, code="silent")
        return answered(*found) if found is not None else Answered(0, code="broken")


async def main(config: dict[str, Any]) -> None:
    """Call until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    caller = Caller(config)
    tasks = [
        asyncio.create_task(caller.run(gateway, number))
        for gateway in config["gateways"]
        for number in range(config["connections"])
    ]
    ending = asyncio.create_task(reader.read())
    while not ending.done():
        await asyncio.wait([ending, *tasks], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # a bug of this program's ends it
        print(json.dumps({"calls": caller.report.calls, "wrong": caller.report.wrong}), flush=True)
    caller.stopping = True
    await asyncio.gather(*tasks)
    print(json.dumps({"report": caller.report.dump()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
