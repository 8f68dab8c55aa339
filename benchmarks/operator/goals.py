"""What the figures have to reach."""

from dataclasses import dataclass
from typing import Any

from benchmarks.operator.fleet import CHILDREN


@dataclass(frozen=True)
class Goal:
    """One figure and its limit, which it must not exceed, or with `at_least` must reach."""

    what: str
    limit: float
    value: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def goals(report: dict[str, Any]) -> list[Goal]:
    """All goals of a report of which there are figures."""
    models, fleets = report["models"], report["fleets"]
    found, small = fleets[str(models)], next(iter(fleets.values()))
    growth = found["growth"]
    highest = max(phase["resident_mb"][1] for phase in found.values() if "resident_mb" in phase)
    reached = [
        Goal("children applied, by the rate of a bare client", 60, 100 * _rate(growth) / bare_rate(found), "%", True),
        Goal("writes per child", 1, growth["child_writes"] / (models * CHILDREN)),
        Goal("status writes per ModelDeployment", 2, growth["model_status_writes"] / models),
        Goal("resident memory at its highest, in all phases", 256, highest, "MB"),
    ]
    if restart := found.get("restart"):
        reached.append(Goal("restart until steady", 30, restart["steady_seconds"], "s"))
        reached.append(Goal("writes at a restart", 0, sum(restart["writes"].values())))
    if rest := found.get("rest"):
        reached.append(Goal("a change until it is applied, at rest, p95", 1, rest["p95_seconds"], "s"))
    if resync := found.get("resync"):
        reached.append(Goal("the same while everything is listed again, p95", 5, resync["p95_seconds"], "s"))
    if storm := found.get("storm"):
        reached.append(Goal(f"reconciles after {storm['events']:,} unrelated events", 0, storm["reconciles"]))
    if len(fleets) > 1:
        reached.append(Goal("CPU per child by that of a small fleet", 1.2, _cpu(growth) / _cpu(small["growth"]), "×"))
    return reached


def bare_rate(fleet: dict[str, Any], kind: str = "bare") -> float:
    """Objects a second that the bare client applied, before and after the operator's turn together.

    `kind` is `bare`, or `bare_unvalidated` with the operator's own `fieldValidation`.
    """
    turns = fleet[kind]
    return float(sum(turn["objects"] for turn in turns) / sum(turn["seconds"] for turn in turns))


def _rate(growth: dict[str, Any]) -> float:
    return float(growth["models"] * CHILDREN / growth["applied_seconds"])


def _cpu(growth: dict[str, Any]) -> float:
    return float(growth["cpu_seconds_until_steady"] / (growth["models"] * CHILDREN))
