"""Acknowledgements: how long gateways take to serve a change of one of their region's RoutingTables."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tomoul.controller.observed import Observed
from tomoul.controller.pods import Pod
from tomoul.kube import resources
from tomoul.kube.store import Change
from tomoul.plan.gateways import acknowledgements, gateway_pods
from tomoul.plan.naming import region_of_table
from tomoul.plan.written import tables_of


@dataclass
class _Waiting:
    uid: str
    newest: int
    """Newest generation that has been seen."""
    since: deque[tuple[int, float]] = field(default_factory=deque)
    """Generations that not every live gateway has accepted, oldest first, with the time at which each was seen."""


class Acknowledgements:
    """Hears every change; remembers only the generations that are not accepted yet.

    A process does not know when the generation that it finds at its start came, so it does not count that one's time.
    """

    def __init__(
        self,
        observed: Observed,
        accepted: Callable[[str, float], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`accepted` hears the region and the seconds of each generation, once every live gateway serves it."""
        self._observed = observed
        self._accepted = accepted
        self._monotonic = monotonic
        self._tables: dict[str, _Waiting] = {}

    def __call__(self, change: Change[Any]) -> None:
        """Take in a change of anything."""
        if change.resource == resources.ROUTING_TABLES:
            self._look(change.key.name)
        elif change.resource == resources.PODS:
            pods: list[Pod] = [pod for pod in (change.old, change.new) if pod is not None]
            for region in {pod.parent.region for pod in pods if pod.parent.model is None}:
                for table in tables_of(self._observed.world(), region):
                    self._look(table)

    def _look(self, name: str) -> None:
        world, region = self._observed.world(), region_of_table(name)
        table = world.facts.tables.get(name)
        if table is None:
            self._tables.pop(name, None)
            return
        now, generation = self._monotonic(), table.metadata.generation
        waiting = self._tables.get(name)
        if waiting is None or waiting.uid != table.metadata.uid:
            waiting = self._tables[name] = _Waiting(table.metadata.uid, generation)
        if generation > waiting.newest:
            waiting.newest = generation
            waiting.since.append((generation, now))
        live = [pod.name for pod in gateway_pods(world, region) if pod.ready]
        if not live:
            waiting.since.clear()  # nobody is late; whoever comes starts with the newest
            return
        entries = acknowledgements(table)
        accepted = min(entries[name].accepted_generation if name in entries else 0 for name in live)
        while waiting.since and waiting.since[0][0] <= accepted:
            self._accepted(region, now - waiting.since.popleft()[1])

    def lags(self) -> Mapping[str, float]:
        """Seconds that the oldest unaccepted generation of a table has waited, by region; 0 where there is none."""
        now = self._monotonic()
        found: dict[str, float] = {}
        for name, waiting in self._tables.items():
            lag = now - waiting.since[0][1] if waiting.since else 0.0
            region = region_of_table(name)
            found[region] = max(lag, found.get(region, 0.0))
        return found
