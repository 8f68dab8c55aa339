"""Samples → figures: medians over rounds, and ratios of what was measured in the same round."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.gateway.cases import Case
from benchmarks.gateway.load import Outcome
from benchmarks.gateway.measure import DIRECT, PLAIN, Sample


@dataclass(frozen=True)
class Figures:
    """One case at one subject. What needs a subject that was not measured is None."""

    kind: str
    size_kb: int
    connections: int
    chunks: int
    subject: str
    requests: int
    failed: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    first_chunk_p50_ms: float
    cpu_us_per_request: float
    load_share: float
    """CPU that the load generator used, of one core."""
    p50_over_direct_ms: float
    p50_over_plain_ms: float | None
    first_chunk_over_direct_ms: float
    first_chunk_over_plain_ms: float | None
    cpu_over_plain: float | None
    """Ratio."""
    cpu_us_per_chunk_over_plain: float | None
    """Difference, for streams."""


def figures(samples: Sequence[Sample]) -> list[Figures]:
    """In the order of measurement."""
    found: dict[tuple[Case, str], dict[int, Outcome]] = {}
    for sample in samples:
        found.setdefault((sample.case, sample.subject), {})[sample.round] = sample.outcome
    return [
        _figures(case, subject, rounds, found[case, DIRECT], found[case, PLAIN])
        for (case, subject), rounds in found.items()
    ]


def _figures(
    case: Case, subject: str, own: dict[int, Outcome], direct: dict[int, Outcome], plain: dict[int, Outcome]
) -> Figures:
    def median(value: Callable[[Outcome], float]) -> float:
        return statistics.median(map(value, own.values()))

    def paired(other: dict[int, Outcome], value: Callable[[Outcome, Outcome], float]) -> float:
        return statistics.median(value(outcome, other[round_]) for round_, outcome in own.items())

    is_proxy = subject != DIRECT
    return Figures(
        kind=case.kind,
        size_kb=case.size_kb,
        connections=case.connections,
        chunks=case.chunks,
        subject=subject,
        requests=sum(outcome.requests for outcome in own.values()),
        failed=sum(outcome.failed for outcome in own.values()),
        requests_per_second=median(lambda outcome: outcome.requests / outcome.seconds),
        p50_ms=median(lambda outcome: outcome.p50_ms),
        p99_ms=median(lambda outcome: outcome.p99_ms),
        first_chunk_p50_ms=median(lambda outcome: outcome.first_chunk_p50_ms),
        cpu_us_per_request=median(cpu_us_per_request),
        load_share=median(lambda outcome: outcome.load_cpu_seconds / outcome.seconds),
        p50_over_direct_ms=paired(direct, lambda a, b: a.p50_ms - b.p50_ms),
        p50_over_plain_ms=paired(plain, lambda a, b: a.p50_ms - b.p50_ms) if is_proxy else None,
        first_chunk_over_direct_ms=paired(direct, lambda a, b: a.first_chunk_p50_ms - b.first_chunk_p50_ms),
        first_chunk_over_plain_ms=(
            paired(plain, lambda a, b: a.first_chunk_p50_ms - b.first_chunk_p50_ms) if is_proxy else None
        ),
        cpu_over_plain=paired(plain, lambda a, b: cpu_us_per_request(a) / cpu_us_per_request(b)) if is_proxy else None,
        cpu_us_per_chunk_over_plain=(
            paired(plain, lambda a, b: (cpu_us_per_request(a) - cpu_us_per_request(b)) / case.chunks)
            if is_proxy and case.chunks > 1
            else None
        ),
    )


def cpu_us_per_request(outcome: Outcome) -> float:
    """Microseconds of the proxy's CPU."""
    return outcome.cpu_seconds / max(outcome.requests, 1) * 1e6
