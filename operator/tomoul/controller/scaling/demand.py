"""Demand: how many calls each pool has in flight, as the gateways' Envoys count them. Pure: figures in, figures out."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

REFUSED_SECONDS = 60.0
"""How long a refused call asks for a replica: as long as `Retry-After` tells its client to wait at most."""

_POOL_STATS = "upstream_rq_active|upstream_rq_pending_active|upstream_rq_total|upstream_cx_none_healthy"
STATS_QUERY: Mapping[str, str] = {
    "usedonly": "",
    "filter": rf"^cluster\.pool/.*\.({_POOL_STATS})$",
}
"""What is asked of `/stats/prometheus`: of a pool's cluster, calls with the engine, calls that wait for a connection to
it, calls that have been sent to it, and calls that found no engine here and no answer elsewhere
(gateway/filter/cluster_specifier.zig)."""
_IN_FLIGHT = ("upstream_rq_active", "upstream_rq_pending_active")
_SENT = "upstream_rq_total"
_REFUSED = "upstream_cx_none_healthy"
_LINE = re.compile(r'^envoy_cluster_(\w+)\{(?:[^}]*,)?envoy_cluster_name="([^"]+)"[^}]*\} (\d+)', re.MULTILINE)


class Reading(NamedTuple):
    """What one gateway says of one cluster."""

    in_flight: int = 0
    refused: int = 0
    """Calls that nobody could answer, since the gateway started."""
    sent: int = 0
    """Calls that went to an engine, since the gateway started."""


@dataclass(frozen=True)
class _Heard:
    at: float
    readings: Mapping[str, Reading]


def parse_stats(text: str) -> Mapping[str, Reading]:
    """Readings by cluster from Envoy's answer to `STATS_QUERY`."""
    found: dict[str, Reading] = {}
    for name, cluster, value in _LINE.findall(text):
        before = found.get(cluster, Reading())
        if name == _REFUSED:
            found[cluster] = before._replace(refused=int(value))
        elif name == _SENT:
            found[cluster] = before._replace(sent=int(value))
        elif name in _IN_FLIGHT:
            found[cluster] = before._replace(in_flight=before.in_flight + int(value))
    return found


class Demand:
    """The gateways' latest readings."""

    def __init__(
        self,
        stale_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        refused_seconds: float = REFUSED_SECONDS,
    ) -> None:
        """A gateway's figures that are older than `stale_seconds` count as unknown."""
        self._stale_seconds = stale_seconds
        self._refused_seconds = refused_seconds
        self._monotonic = monotonic
        self._heard: dict[str, _Heard] = {}
        self._refused_at: dict[str, float] = {}
        self._sent_at: dict[str, float] = {}

    def hear(self, gateway: str, readings: Mapping[str, Reading]) -> None:
        """Take a gateway's readings. Its first ones are where its counters are counted from."""
        now = self._monotonic()
        before = self._heard.get(gateway)
        if before is not None:
            for cluster, reading in readings.items():
                old = before.readings.get(cluster, Reading())
                # Its counters begin anew when its Envoy restarts.
                if reading.refused and reading.refused != old.refused:
                    self._refused_at[cluster] = now
                if reading.sent and reading.sent != old.sent:
                    self._sent_at[cluster] = now
        self._heard[gateway] = _Heard(now, readings)

    def forget_others(self, gateways: Iterable[str]) -> None:
        """Drop what gateways said that are gone."""
        kept = set(gateways)
        self._heard = {name: heard for name, heard in self._heard.items() if name in kept}
        oldest = self._monotonic() - self._refused_seconds
        self._refused_at = {cluster: at for cluster, at in self._refused_at.items() if at >= oldest}
        oldest = self._monotonic() - self._stale_seconds
        self._sent_at = {cluster: at for cluster, at in self._sent_at.items() if at >= oldest}

    def calls(self, clusters: Sequence[str], live: Iterable[str], draining: Iterable[str] = ()) -> int | None:
        """Calls in flight to a pool over these gateways, or None where a live one is not known to have how many.

        Too few would end replicas. `clusters` are the pool's. Of gateways that only end their calls, what is known is
        added. A call that was refused a moment ago counts as one: its client is told to come again. So does one that
        was over before anybody looked: a pool that has only short calls is called, too.
        """
        fresh = self._fresh()
        serving = set(live)
        if not serving or not serving <= fresh.keys():
            return None
        counted = [fresh[name] for name in serving.union(draining) if name in fresh]
        total = sum(readings.get(cluster, Reading()).in_flight for readings in counted for cluster in clusters)
        return max(total, 1) if any(map(self._called, clusters)) else total

    def unknown(self, gateways: Iterable[str]) -> list[str]:
        """Those of these gateways whose figures are not known, sorted."""
        return sorted(set(gateways) - self._fresh().keys())

    def _fresh(self) -> dict[str, Mapping[str, Reading]]:
        oldest = self._monotonic() - self._stale_seconds
        return {name: heard.readings for name, heard in self._heard.items() if heard.at >= oldest}

    def _called(self, cluster: str) -> bool:
        """Whether a call to it was refused, or sent, a moment ago."""
        now, never = self._monotonic(), float("-inf")
        refused, sent = self._refused_at.get(cluster, never), self._sent_at.get(cluster, never)
        return refused >= now - self._refused_seconds or sent >= now - self._stale_seconds
