"""The report as Markdown."""

from collections.abc import Sequence
from typing import Any

from benchmarks.gateway.goals import Goal
from benchmarks.gateway.summary import Figures


def markdown(machine: str, all_figures: Sequence[Figures], updates: dict[str, Any], found: Sequence[Goal]) -> str:
    """Machine, goals, figures and updates."""
    streams = updates["streams"]
    memory = (
        f"Memory of Envoy at {updates['models']:,} models: {updates['resident_mb']:.0f} MB with its configuration, "
        f"{updates['resident_after_updates_mb']:.0f} MB after all calls and updates; at 5 models "
        f"{updates['few_mb']:.0f} MB; plain Envoy {updates['plain_mb']:.0f} MB."
    )
    changes = (
        f"Changes at {updates['models']:,} models, compiler included, until Envoy has accepted them (median, longest): "
        f"an endpoint {_durations(updates['endpoint_change_ms'])}; a model {_durations(updates['model_change_ms'])}. "
        f"From Envoy's start to the whole first configuration: {updates['first_ms']:.0f} ms."
    )
    under_updates = (
        f"{streams['updates']} consecutive updates under open streams: {streams['streams']} streams, "
        f"{streams['dropped']} dropped; an update took {_durations(streams['update'])}."
    )
    blocks = [
        [machine],
        _goals(found),
        _bodies(all_figures),
        _streams(all_figures),
        [memory],
        [changes],
        [under_updates],
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _goals(found: Sequence[Goal]) -> list[str]:
    rows = [
        f"| {goal.what} | {f'≤ {goal.limit:g} {goal.unit}'.rstrip()} | {f'{_short(goal.value)} {goal.unit}'.rstrip()}"
        f" | {'met' if goal.met else '**missed**'} |"
        for goal in found
    ]
    return ["| goal | limit | measured | |", "| --- | --- | --- | --- |", *rows]


def _bodies(all_figures: Sequence[Figures]) -> list[str]:
    rows = [
        f"| {each.kind} | {each.connections} | {each.subject} | {each.p50_ms:.2f} | {each.p99_ms:.2f} | "
        f"{each.p50_over_direct_ms:+.2f} | {each.requests_per_second:,.0f} | {_cpu(each)} | {_ratio(each)} |"
        for each in all_figures
        if not each.chunks
    ]
    head = "| body | connections | | p50 ms | p99 ms | p50 over direct | requests/s | CPU µs per request | ÷ plain |"
    return [head, "| --- " * 9 + "|", *rows]


def _streams(all_figures: Sequence[Figures]) -> list[str]:
    rows = [
        f"| {each.kind} | {each.connections} | {each.subject} | {each.first_chunk_p50_ms:.2f} | "
        f"{each.first_chunk_over_direct_ms:+.2f} | {_cpu(each)} | {_ratio(each)} | {_chunk(each)} |"
        for each in all_figures
        if each.chunks
    ]
    head = (
        "| streams | connections | | first chunk p50 ms | over direct | CPU µs per stream | ÷ plain | "
        "CPU µs per chunk above plain |"
    )
    return [head, "| --- " * 8 + "|", *rows]


def _cpu(each: Figures) -> str:
    return f"{each.cpu_us_per_request:,.0f}" if each.cpu_over_plain is not None else ""


def _ratio(each: Figures) -> str:
    failed = f" ({each.failed} of {each.requests} failed)" if each.failed else ""
    return ("" if each.cpu_over_plain is None else f"{each.cpu_over_plain:.2f}") + failed


def _chunk(each: Figures) -> str:
    return "" if each.cpu_us_per_chunk_over_plain is None else f"{each.cpu_us_per_chunk_over_plain:+.1f}"


def _durations(values: dict[str, float]) -> str:
    return f"{values['median']:.0f} ms, {values['longest']:.0f} ms"


def _short(value: float) -> str:
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
