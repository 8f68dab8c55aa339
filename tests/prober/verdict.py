"""The verdict on a run: what in a caller's report the run's windows do not explain, and whether it counts at all."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.prober.disturbances import Refusal, Window

SLACK = 1.5
"""Seconds by which what came of a window may be told earlier or later."""
STRETCH = 10
"""Seconds over which the rate must not fall to less than a quarter of the minimum."""
FEWEST_HITS = 0.1
"""Share of calls with cached tokens under which the cache figures prove little."""


def problems_of(report: dict[str, Any], windows: Sequence[Window], minimum: float) -> list[str]:
    """Nothing, if the run counts and all is as it should be. `minimum`: calls a second."""
    found = [f"wrong: {fault}" for fault in report["faults"]]
    if report["wrong"] > len(report["faults"]):
        found.append(f"wrong: {report['wrong']} in all")
    refusals = [Refusal(*each) for each in report["refused"]]
    unexplained = [each for each in refusals if not any(_explains(window, each) for window in windows)]
    counted = Counter((each.gateway, each.pin, each.model, each.status, each.code) for each in unexplained)
    found += [f"refused, and nothing explains it: {what} {count} times" for what, count in counted.most_common(10)]
    if unexplained:
        first = unexplained[0].when
        near = [window.name for window in windows if window.began - 10 < first < window.ended + 10]
        found.append(f"the first of those at {first:.2f}, near {near}")
    for window in windows:
        if window.needed and not any(_explains(window, each) for each in refusals):
            found.append(f"void: nobody has noticed {window.name}")
    for second, gateway, count in report["away"]:
        if not any(_covers(window, second, second + 1) and window.away == gateway for window in windows):
            found.append(f"{count} calls without a pin went away from {gateway} at {second}")
    return found + _void(report, minimum)


def _void(report: dict[str, Any], minimum: float) -> list[str]:
    """Why the run proves little."""
    seconds = dict(report["seconds"])
    if not seconds:
        return ["void: no calls"]
    whole = range(min(seconds) + 1, max(seconds))  # the first and the last are cut
    rates = [seconds.get(second, 0) for second in whole]
    found = []
    if not rates or (rate := sum(rates) / len(rates)) < minimum:
        found.append(f"void: {rate if rates else 0:.0f} calls a second, fewer than {minimum:.0f}")
    found += [
        f"void: {rate:.0f} calls a second from {whole[start]} on"
        for start in range(0, len(rates) - STRETCH + 1, STRETCH)
        if (rate := sum(rates[start : start + STRETCH]) / STRETCH) < minimum / 4
    ]
    if report["hits"] < FEWEST_HITS * report["calls"]:
        found.append(f"void: {report['hits']} answers of {report['calls']} had cached tokens")
    kinds = ("pinned", "unpinned", "pinned no-store", "unpinned no-store")
    few = [kind for kind in kinds if report["kinds"].get(kind, 0) < report["calls"] / 50]
    return found + [f"void: too few calls {kind}" for kind in few]


def _explains(window: Window, refusal: Refusal) -> bool:
    return _covers(window, refusal.when, refusal.when) and window.explains(refusal)


def _covers(window: Window, begin: float, end: float) -> bool:
    return window.began - SLACK <= end and begin <= window.ended + SLACK
