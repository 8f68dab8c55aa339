"""Patience: a status that tells of nothing but routes that are on their way is not written yet.

A change reaches the table of one region before that of the next, and the gateways of each acknowledge when they can.
Were every step of that a status, a model would have several writes for each of its regions. Nor is a pod told that is
ready while gateways do not have its endpoint yet, which comes a moment later.
"""

import time
from collections.abc import Callable

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.plan.world import Key

_ON_THE_WAY = (Reason.WAITING_FOR_TABLE, Reason.WAITING_FOR_GATEWAYS, Reason.WAITING_FOR_ENDPOINTS)
_OF_ROUTES = (ConditionType.ROUTES_PROGRAMMED, ConditionType.READY)


class Patience:
    """Remembers since when each model's status waits."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: dict[Key, float] = {}

    def left(self, key: Key, old: ModelDeploymentStatus, new: ModelDeploymentStatus, seconds: float) -> float:
        """For how many more seconds the status need not be written; 0 if it is to be written now.

        `seconds` are how long routes may be on their way. What is new to a reader apart from them is never held back,
        but for what comes with an endpoint that is on its way.
        """
        waits = _on_the_way(new)
        if not waits or (waits != {Reason.WAITING_FOR_ENDPOINTS} and _without_routes(old) != _without_routes(new)):
            self._since.pop(key, None)
            return 0.0
        now = self._monotonic()
        left = self._since.setdefault(key, now) + seconds - now
        if left <= 0:
            del self._since[key]
        return max(left, 0.0)

    def forget(self, key: Key) -> None:
        """The model is gone."""
        self._since.pop(key, None)


def _on_the_way(status: ModelDeploymentStatus) -> set[str]:
    """What regions wait for that comes by itself."""
    return {
        entry.reason
        for row in status.regions
        for entry in row.conditions
        if entry.type == ConditionType.ROUTES_PROGRAMMED and entry.status != "True" and entry.reason in _ON_THE_WAY
    }


def _without_routes(status: ModelDeploymentStatus) -> object:
    return status.observed_generation, [_row(row) for row in status.regions]


def _row(row: RegionModelStatus) -> object:
    conditions = {
        (entry.type, entry.status, entry.reason, entry.message)
        for entry in row.conditions
        if entry.type not in _OF_ROUTES
    }
    rest = row.model_copy(update={"conditions": (), "waiting_for": "", "programmed_route": ""})
    return conditions, rest
