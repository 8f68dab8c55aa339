"""The agent's metrics."""

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from tomoul.gateway.agent.ads import AdsServer
from tomoul.gateway.agent.slices import PoolSlice
from tomoul.gateway.agent.state import KnownTable, TableVersion
from tomoul.kube.store import Store


class AgentMetrics:
    """Gauges that read the facts when they are scraped, and counters of what was refused or left unanswered."""

    def __init__(self, ads: AdsServer, tables: Store[KnownTable], slices: Store[PoolSlice]) -> None:
        self.registry = CollectorRegistry()
        self._generation = Gauge(
            "tomoul_agent_accepted_generation",
            "Generation of each RoutingTable that Envoy has accepted.",
            ["table"],
            registry=self.registry,
        )
        self._rejections = Counter(
            "tomoul_agent_rejections",
            "Configurations that Envoy, or the agent itself, refused.",
            registry=self.registry,
        )
        self._unanswered = Counter(
            "tomoul_agent_unanswered",
            "Times that Envoy neither accepted nor refused what it was sent and was cut off, to be sent all again.",
            registry=self.registry,
        )
        for name, text, read in (
            ("published_version", "Newest configuration published to Envoy.", lambda: ads.published_version),
            ("accepted_version", "Newest configuration that Envoy accepted.", lambda: ads.accepted_version),
            ("connected_envoys", "Envoys connected by ADS.", lambda: ads.connected),
        ):
            Gauge(f"tomoul_agent_{name}", text, registry=self.registry).set_function(read)
        age = Gauge(
            "tomoul_agent_last_event_age_seconds",
            "Time since the API server last said anything, bookmarks included.",
            ["resource"],
            registry=self.registry,
        )
        age.labels(tables.resource.plural).set_function(lambda: time.monotonic() - tables.last_event)
        age.labels(slices.resource.plural).set_function(lambda: time.monotonic() - slices.last_event)

    def accepted(self, versions: Mapping[str, TableVersion]) -> None:
        """Envoy serves these tables."""
        for name, version in versions.items():
            self._generation.labels(name).set(version.generation)

    def rejected(self) -> None:
        """A configuration was refused, by Envoy or before it was sent."""
        self._rejections.inc()

    def unanswered(self) -> None:
        """Envoy neither accepted nor refused a configuration in time."""
        self._unanswered.inc()
