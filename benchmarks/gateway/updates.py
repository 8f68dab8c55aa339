"""How long a change takes until Envoy has accepted it, and whether open streams outlive changes."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.gateway.bodies import API_KEY
from benchmarks.gateway.child import LoadGenerator
from benchmarks.gateway.effort import Effort
from benchmarks.gateway.gateway import Gateway
from benchmarks.gateway.load import Job

_CHUNKS = 1000
"""Streams of five seconds, through many updates each."""
_MODEL_CHANGE_EVERY = 10
_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Durations:
    """Milliseconds."""

    median: float
    longest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Durations":
        """Of at least one value."""
        return cls(statistics.median(values), max(values), len(values))


@dataclass(frozen=True)
class StreamsUnderUpdates:
    """What became of streams while the configuration changed again and again."""

    updates: int
    streams: int
    """Streams in all, those before the first and after the last update included."""
    dropped: int
    problem: str
    update: Durations


async def time_changes(gateway: Gateway, effort: Effort) -> dict[str, Any]:
    """Durations of single changes of an endpoint and of a model."""

    async def timed(change: Callable[[int], Awaitable[float]]) -> Durations:
        return Durations.of([await change(step + 1) for step in range(effort.changes)])

    return {
        "endpoint_change_ms": asdict(await timed(gateway.change_endpoint)),
        "model_change_ms": asdict(await timed(gateway.change_model)),
    }


async def streams_under_updates(gateway: Gateway, load: LoadGenerator, effort: Effort) -> StreamsUnderUpdates:
    """Keep streams open to the model whose endpoint and settings change; every tenth update changes the model."""
    await load.begin(
        Job(
            port=gateway.port,
            models=gateway.models[:1],
            size=1024,
            connections=effort.update_streams,
            seconds=0,
            requests=_ENDLESS,
            chunks=_CHUNKS,
            headers=[f"authorization: Bearer {API_KEY}"],
        )
    )
    await asyncio.sleep(1)  # all streams are open
    durations = []
    for step in range(effort.updates):
        change = gateway.change_endpoint if (step + 1) % _MODEL_CHANGE_EVERY else gateway.change_model
        durations.append(await change(step))
    outcome = await load.end()
    return StreamsUnderUpdates(
        effort.updates, outcome.requests, outcome.failed, outcome.problem, Durations.of(durations)
    )
