"""Counts of canaries: what a gateway's metrics say of their calls, and what has been counted since a trial began."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tomoul.plan.world import CallCounts, CanaryFact

CALLS = "envoy_tomoul_trial_calls_total"
TTFT_SUM, TTFT_COUNT = "envoy_tomoul_trial_ttft_ms_sum", "envoy_tomoul_trial_ttft_ms_count"
COMPUTED = "envoy_tomoul_trial_computed_tokens_total"
CANARY, STABLE, _MISSED = "canary", "stable", "missed"
"""Values of the label `trial`: which pods a call was meant for. The last is ours."""
SETTLING_SECONDS = 15.0
"""How long it may take, once a canary's pod is ready, until every gateway has its endpoint."""


class Reading(NamedTuple):
    """A gateway's counts of one model, since the gateway began."""

    canary: CallCounts = CallCounts()
    stable: CallCounts = CallCounts()
    missed: int = 0
    """Those of the canary's calls, failed ones, that other pods answered for it."""

    def plus(self, other: "Reading") -> "Reading":
        """Of several models together."""
        canary, stable = (_plus(one, two) for one, two in ((self.canary, other.canary), (self.stable, other.stable)))
        return Reading(canary, stable, self.missed + other.missed)


@dataclass(frozen=True)
class Tally:
    """What has been counted of one trial."""

    revision: str
    began: float
    """When counting began, in the watch's own seconds."""
    at: float
    """When it was read last."""
    total: Reading = field(default_factory=Reading)
    last: Mapping[str, Reading] = field(default_factory=dict)
    """The newest reading by gateway."""
    unreadable: tuple[str, ...] = ()

    def with_readings(self, at: float, readings: Mapping[str, Reading | None]) -> "Tally":
        """The tally after all live gateways were asked; None is one that gave no answer.

        A gateway's first reading only says where its counts begin, and one that counts less than before began anew.
        What others answer for a canary whose endpoint has not come to a gateway yet is no failure of its.
        """
        total = self.total
        for name, reading in readings.items():
            if reading is not None and name in self.last:
                new = _since(self.last[name], reading)
                total = total.plus(new if self.at >= self.began + SETTLING_SECONDS else _without_missed(new))
        # What a gateway counted while it could not be read is in its next answer.
        last = {name: reading or self.last.get(name) for name, reading in readings.items()}
        return Tally(
            self.revision,
            self.began,
            at,
            total,
            {name: reading for name, reading in last.items() if reading is not None},
            tuple(sorted(name for name, reading in readings.items() if reading is None)),
        )

    @property
    def fact(self) -> CanaryFact:
        """What a plan sees of it."""
        return CanaryFact(
            self.revision, int(self.at - self.began), self.total.canary, self.total.stable, self.unreadable
        )


# Of a stream, by the filter's `failure.zig`: vLLM and SGLang find some mistakes of a client's only after it has begun.
_NO_FAILURES = frozenset(
    {
        "",
        "context_length_exceeded",
        "invalid_request",
        "not_found",
        "rate_limit_exceeded",
        "request_timeout",
        "request_too_large",
    }
)


def readings_of(text: str) -> Mapping[str, Reading]:
    """Readings by model id, from metrics in Prometheus' text format; ValueError if that is none.

    A call that was meant for the canary and was answered by other pods failed there, whatever it got in the end. What
    the client did not wait for (status 0) counts nowhere, and a client's mistake is no failure.
    """
    found: dict[str, dict[str, CallCounts]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name not in (CALLS, TTFT_SUM, TTFT_COUNT, COMPUTED):
                continue
            labels, value = sample.labels, int(sample.value)
            trial = labels.get("trial", "")
            sides = found.setdefault(labels.get("model", ""), {})
            counted = _counted(sample.name, labels, value)
            sides[trial] = _plus(sides.get(trial, CallCounts()), counted)
            if _missed(labels):
                sides[_MISSED] = _plus(sides.get(_MISSED, CallCounts()), counted)
    return {
        model: Reading(
            sides.get(CANARY, CallCounts()), sides.get(STABLE, CallCounts()), sides.get(_MISSED, CallCounts()).calls
        )
        for model, sides in found.items()
    }


def _counted(name: str, labels: Mapping[str, str], value: int) -> CallCounts:
    if name == TTFT_SUM:
        return CallCounts(ttft_milliseconds=value)
    if name == TTFT_COUNT:
        return CallCounts(streams=value)
    if name == COMPUTED:
        return CallCounts(computed_tokens=value)
    status = int(labels.get("status") or 0)
    if status == 0:
        return CallCounts()
    broken = status < 400 and labels.get("code", "") not in _NO_FAILURES
    failed = _missed(labels) or broken or status >= 500
    refused = not failed and (status >= 400 or labels.get("code", "") != "")
    return CallCounts(calls=value, errors=value if failed else 0, refused=value if refused else 0)


def _missed(labels: Mapping[str, str]) -> bool:
    return labels.get("trial") == CANARY and labels.get("answered_by", CANARY) != CANARY


def _without_missed(counts: Reading) -> Reading:
    missed = CallCounts(counts.missed, counts.missed)
    return Reading(_minus(counts.canary, missed), counts.stable)


def _since(before: Reading, now: Reading) -> Reading:
    sides = ((before.canary, now.canary), (before.stable, now.stable))
    if any(new < old for old, new in (pair for each in sides for pair in _pairs(*each))) or now.missed < before.missed:
        return now  # the gateway began anew
    canary, stable = (_minus(new, old) for old, new in sides)
    return Reading(canary, stable, now.missed - before.missed)


def _pairs(one: CallCounts, other: CallCounts) -> list[tuple[int, int]]:
    return [
        (one.calls, other.calls),
        (one.errors, other.errors),
        (one.streams, other.streams),
        (one.ttft_milliseconds, other.ttft_milliseconds),
        (one.refused, other.refused),
        (one.computed_tokens, other.computed_tokens),
    ]


def _plus(one: CallCounts, other: CallCounts) -> CallCounts:
    return CallCounts(*(left + right for left, right in _pairs(one, other)))


def _minus(one: CallCounts, other: CallCounts) -> CallCounts:
    return CallCounts(*(left - right for left, right in _pairs(one, other)))
