"""The report as Markdown."""

from typing import Any

from benchmarks.operator.fleet import CHILDREN, REGIONS
from benchmarks.operator.goals import bare_rate, goals


def markdown(report: dict[str, Any]) -> str:
    """Machine, goals and costs."""
    head = (
        f"{report['machine']}, all of it shared with etcd and API server; {report['models']:,} ModelDeployments in one "
        f"namespace, in {len(REGIONS)} regions: {report['models'] * CHILDREN:,} objects."
    )
    rows = [
        f"| {goal.what} | {'≥' if goal.at_least else '≤'} {goal.limit:g} {goal.unit}".rstrip()
        + f" | {_short(goal.value)} {goal.unit}".rstrip()
        + f" | {'met' if goal.met else '**missed**'} |"
        for goal in goals(report)
    ]
    table = ["| goal | limit | measured | |", "| --- | --- | --- | --- |", *rows]
    costs = ["| | " + " | ".join(f"{size} models" for size in report["fleets"]) + " |"]
    costs.append("| --- " * (len(report["fleets"]) + 1) + "|")
    fleets = list(report["fleets"].values())
    for what, value in _COSTS.items():
        costs.append(f"| {what} | " + " | ".join(_short(value(fleet)) for fleet in fleets) + " |")
    return "\n\n".join([head, "\n".join(table), "\n".join(costs), *_changes(fleets[-1])]) + "\n"


def _changes(fleet: dict[str, Any]) -> list[str]:
    measured = [phase for phase in ("rest", "rapid", "resync") if phase in fleet]
    if not measured:
        return []
    lines = ["| | " + " | ".join(measured) + " |", "| --- " * (len(measured) + 1) + "|"]
    for what, name in _OF_CHANGES.items():
        lines.append(f"| {what} | " + " | ".join(_short(fleet[phase][name]) for phase in measured) + " |")
    return ["\n".join(lines)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"


def _per_child(fleet: dict[str, Any], name: str) -> float:
    growth = fleet["growth"]
    return float(1000 * growth[name] / (growth["models"] * CHILDREN))


_COSTS = {
    "objects a second, bare client": bare_rate,
    "the same with the operator's own field validation": lambda fleet: bare_rate(fleet, "bare_unvalidated"),
    "objects a second, operator": lambda fleet: (
        fleet["growth"]["models"] * CHILDREN / fleet["growth"]["applied_seconds"]
    ),
    "API server's and etcd's CPU ms per object, bare client": lambda fleet: (
        1000
        * sum(turn["server_cpu_seconds"] for turn in fleet["bare"])
        / sum(turn["objects"] for turn in fleet["bare"])
    ),
    "the same, operator": lambda fleet: _per_child(fleet, "server_cpu_seconds_until_steady"),
    "operator's CPU ms per object": lambda fleet: _per_child(fleet, "cpu_seconds_until_steady"),
    "writes of RoutingTables": lambda fleet: fleet["growth"]["table_writes"],
    "operator's memory afterwards, MB": lambda fleet: fleet["growth"]["resident_mb"][0],
}
_OF_CHANGES = {
    "median, s": "p50_seconds",
    "p95, s": "p95_seconds",
    "longest, s": "longest_seconds",
    "operator's CPU seconds per change": "cpu_seconds_per_change",
    "API server's and etcd's": "server_cpu_seconds_per_change",
}
