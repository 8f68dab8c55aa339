"""Readings: what an operator tells of itself in its metrics, and waiting for what they shall say."""

import re
import time
from collections.abc import Callable, Mapping

from benchmarks.operator.fleet import REGIONS
from tests.integration.operators import OperatorProcess

KINDS = ("ServiceAccount", "NetworkPolicy", "Deployment", "Service", "PodDisruptionBudget")
GATEWAY_CHILDREN = 4
"""What a region's gateways have of `KINDS`: no ServiceAccount."""
QUIET_SECONDS = 6.0
"""Without a write for so long, and with nothing queued, the operator is steady."""
_LABELS = re.compile(r'(\w+)="([^"]*)"')


def until(what: Callable[[], bool], limit: float, began: float) -> float:
    """Seconds since `began` when `what` first held. Raises TimeoutError."""
    while not what():
        if time.monotonic() - began > limit:
            raise TimeoutError(f"not within {limit:.0f} s")
        time.sleep(1.0)
    return time.monotonic() - began


def steady(operator: OperatorProcess, limit: float, began: float) -> float:
    """Seconds since `began` until the operator's last work, once none has come for a while."""
    return quiet(operator, limit, QUIET_SECONDS, 2.0) - began


def quiet(operator: OperatorProcess, limit: float, seconds: float, every: float) -> float:
    """Monotonic time of the last work, once for some seconds there was none, and no key waited for its turn or time.

    Raises TimeoutError after `limit` seconds.
    """
    last: object = None
    began = since = time.monotonic()
    while True:
        metrics = operator.metrics()
        now = (_total(metrics, "tomoul_api_writes_total"), _total(metrics, "tomoul_reconciles_total"))
        waits = sum(metrics[f"tomoul_queue_{which}"] for which in ("depth", "processing", "delayed"))
        if now != last or waits:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > seconds:
            return since
        if time.monotonic() - began > limit:
            raise TimeoutError(f"not quiet within {limit:.0f} s")
        time.sleep(every)


def writes(operator: OperatorProcess) -> dict[tuple[str, str], int]:
    """Writes by verb and kind."""
    found = {}
    for name, value in operator.metrics().items():
        if name.startswith("tomoul_api_writes_total"):
            labels = dict(_LABELS.findall(name))
            found[labels["verb"], labels["kind"]] = int(value)
    return found


def children(operator: OperatorProcess) -> int:
    """Applies of models' children, without those of the regions' gateways."""
    applied = sum(n for (verb, kind), n in writes(operator).items() if verb == "apply" and kind in KINDS)
    return applied - len(REGIONS) * GATEWAY_CHILDREN


def reconciles(operator: OperatorProcess) -> dict[str, int]:
    """Reconciles by kind and outcome, as far as there were any."""
    found: dict[str, int] = {}
    for name, value in operator.metrics().items():
        if name.startswith("tomoul_reconciles_total") and value:
            labels = dict(_LABELS.findall(name))
            found[f"{labels['kind']} {labels['outcome']}"] = int(value)
    return found


def _total(metrics: Mapping[str, float], name: str) -> float:
    return sum(value for each, value in metrics.items() if each.startswith(f"{name}{{"))
