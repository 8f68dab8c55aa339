"""The load generator, a process of its own: closed loops of requests over connections that are kept.

`python -m benchmarks.gateway.load` reads jobs as lines of JSON and answers each with a line of JSON. A job whose
`seconds` are 0 runs until another line comes.
"""

import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import count, cycle, islice
from os import getpid
from time import perf_counter

from benchmarks.gateway.accounting import cpu_seconds
from benchmarks.gateway.bodies import request_body
from benchmarks.gateway.connection import Connection, Exchange

_ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Job:
    """What to ask of whom."""

    port: int
    models: Sequence[str]
    """Requests go to these in turn."""
    size: int
    """Bytes of a request's body."""
    connections: int
    seconds: float
    """No request begins later than this; 0 for "until another line comes"."""
    requests: int
    """No more than these in all."""
    chunks: int = 0
    """Chunks of each answer, 0 for answers that are no streams."""
    headers: Sequence[str] = ()
    pids: Sequence[int] = ()
    """Processes whose CPU time is taken meanwhile."""


@dataclass
class Outcome:
    """What came of a job. Percentiles in milliseconds."""

    requests: int = 0
    failed: int = 0
    problem: str = ""
    """The first failure."""
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    first_chunk_p50_ms: float = 0.0
    cpu_seconds: float = 0.0
    """Of the job's `pids`."""
    load_cpu_seconds: float = 0.0
    """Of the load generator itself."""
    chunks: int = 0
    first_chunks: list[float] = field(default_factory=list, repr=False)
    latencies: list[float] = field(default_factory=list, repr=False)


@lru_cache(maxsize=64)
def _request(model: str, size: int, chunks: int, headers: Sequence[str]) -> bytes:
    body = request_body(model, size, chunks)
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def run_job(job: Job, stop: asyncio.Event) -> Outcome:
    """Warm every connection up with a request that does not count, then measure. `stop` ends it early."""
    headers = tuple(job.headers)
    requests = [_request(model, job.size, job.chunks, headers) for model in job.models]
    warm_up = [_request(model, job.size, min(job.chunks, 1), headers) for model in job.models]
    outcome, started = Outcome(), count()
    connections = [await _connect(job.port) for _ in range(job.connections)]
    problems = await asyncio.gather(*(_warm_up(each, warm_up, first) for first, each in enumerate(connections)))
    if problem := next(filter(None, problems), None):
        for connection in connections:
            connection.close()
        return Outcome(requests=1, failed=1, seconds=_ANSWER_SECONDS, problem=f"the first request: {problem}")
    begin, cpu, own_cpu = perf_counter(), cpu_seconds(job.pids), cpu_seconds([getpid()])

    def goes_on() -> bool:
        return not stop.is_set() and (not job.seconds or perf_counter() - begin < job.seconds)

    async def loop(connection: Connection, first: int) -> None:
        for request in islice(cycle(requests), first % len(requests), None):
            if not goes_on() or next(started) >= job.requests:
                break
            _count(outcome, await _exchange(connection, request), job.chunks)
            if not connection.open:
                connection = await _connect(job.port)
        connection.close()

    await asyncio.gather(*(loop(each, first) for first, each in enumerate(connections)))
    outcome.seconds = perf_counter() - begin
    outcome.cpu_seconds = cpu_seconds(job.pids) - cpu
    outcome.load_cpu_seconds = cpu_seconds([getpid()]) - own_cpu
    return _with_percentiles(outcome)


async def _connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def _exchange(connection: Connection, request: bytes) -> Exchange:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await connection.exchange(request)
    except TimeoutError:
        connection.close()
        return Exchange()


async def _warm_up(connection: Connection, requests: Sequence[bytes], first: int) -> str:
    exchange = await _exchange(connection, requests[first % len(requests)])
    return "" if exchange.status == 200 and exchange.whole else str(exchange)


def _count(outcome: Outcome, exchange: Exchange, chunks: int) -> None:
    outcome.requests += 1
    outcome.chunks += min(exchange.events, chunks)
    if exchange.status != 200 or not exchange.whole or (chunks and not (exchange.done and exchange.events > chunks)):
        outcome.failed += 1
        outcome.problem = outcome.problem or str(exchange)
        return
    outcome.latencies.append(exchange.seconds * 1000)
    if chunks:
        outcome.first_chunks.append(exchange.first_chunk_seconds * 1000)


def _with_percentiles(outcome: Outcome) -> Outcome:
    if outcome.latencies:
        ordered = sorted(outcome.latencies)
        outcome.p50_ms, outcome.p99_ms = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    if outcome.first_chunks:
        outcome.first_chunk_p50_ms = statistics.median(outcome.first_chunks)
    return outcome


async def _serve() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        job, stop = Job(**json.loads(line)), asyncio.Event()
        work = asyncio.create_task(run_job(job, stop))
        if not job.seconds:
            await reader.readline()
            stop.set()
        result = asdict(await work)
        del result["latencies"], result["first_chunks"]
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
