"""What the gateway is to reach, beside what it reached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gateway.cases import JUDGED_CONNECTIONS
from benchmarks.gateway.summary import Figures

_STREAM = "stream"


@dataclass(frozen=True)
class Goal:
    """One figure and its limit."""

    what: str
    limit: float
    unit: str
    value: float

    @property
    def met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.value <= self.limit


def goals(
    all_figures: Sequence[Figures], updates: Mapping[str, Any], few: str, many: str, peers: Sequence[str]
) -> list[Goal]:
    """All goals. `few` and `many` are the names of the gateway with five and with all models."""
    judged = {
        (_STREAM if each.chunks > 1 else each.kind, each.subject): each
        for each in all_figures
        if each.connections == JUDGED_CONNECTIONS
    }

    def at(kind: str, subject: str, of: Callable[[Figures], float | None]) -> float:
        value = of(judged[kind, subject])
        assert value is not None, f"there is no figure for {kind} at {subject}"
        return value

    alone = next(
        each for each in all_figures if each.kind == "400 KB" and each.connections == 1 and each.subject == many
    )
    found = [
        Goal("CPU per request ÷ plain Envoy's, 1 KB", 1.25, "×", at("1 KB", many, lambda f: f.cpu_over_plain)),
        Goal("CPU per request ÷ plain Envoy's, 400 KB", 3, "×", at("400 KB", many, lambda f: f.cpu_over_plain)),
        Goal("added p50 over direct, 400 KB, 1 connection", 2, "ms", alone.p50_over_direct_ms),
        Goal(
            "CPU per stream chunk above plain Envoy's", 10, "µs",
            at(_STREAM, many, lambda f: f.cpu_us_per_chunk_over_plain),
        ),
        Goal(
            "CPU per request at all models ÷ at 5, 1 KB", 1.1, "×",
            at("1 KB", many, lambda f: f.cpu_us_per_request) / at("1 KB", few, lambda f: f.cpu_us_per_request),
        ),
        Goal("Envoy's memory at all models", 300, "MB", updates["resident_mb"]),
        Goal("endpoint change accepted, longest", 250, "ms", updates["endpoint_change_ms"]["longest"]),
        Goal("model change accepted, longest", 1000, "ms", updates["model_change_ms"]["longest"]),
        Goal("streams dropped during consecutive updates", 0, "", updates["streams"]["dropped"]),
    ]  # fmt: skip
    for peer in peers:
        for kind in ("8 KB", "100 KB", "400 KB", _STREAM):
            if judged[kind, peer].failed:
                continue
            ratio = at(kind, many, lambda f: f.cpu_us_per_request) / at(kind, peer, lambda f: f.cpu_us_per_request)
            found.append(
                Goal(f"CPU per {'stream' if kind == _STREAM else 'request'} ÷ {peer}'s, {kind}", 1, "×", ratio)
            )
    return found
