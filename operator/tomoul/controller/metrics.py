"""Metrics of the operator, in Prometheus' format on `/metrics`: what is counted as it happens.

What is read when somebody asks is in `gauges.py` and `figures.py`. Labels come from closed sets, from the Regions and
from the ModelDeployments; docs/metrics.md lists them all. None is called `namespace` or `pod`: scrapers give these to
what they scrape, and would rename ours.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tomoul.controller.keys import Kind

OUTCOMES = (
    "done",
    "not_yet",
    "refused",
    "conflict",
    "forbidden",
    "gone",
    "internalerror",
    "invalid",
    "notfound",
    "throttled",
    "unavailable",
    "bug",
)
"""How a reconcile can end: well, to be looked at in a second, by the API server's refusal or error, or by a bug."""


class Metrics:
    """Counters that the operator's parts increase."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "tomoul_reconciles", "Reconciles by kind and outcome", ["kind", "outcome"], registry=self.registry
        )
        for kind in Kind:
            for outcome in OUTCOMES:
                # A counter that first appears with its first error is one whose rate misses that error.
                self.reconciles.labels(kind, outcome)
        self.reconcile_seconds = Histogram(
            "tomoul_reconcile_seconds",
            "Duration of reconciles by kind",
            ["kind"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "tomoul_queue_seconds",
            "Seconds that a key waited for a worker, by kind",
            ["kind"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
            registry=self.registry,
        )
        self.withheld = Counter(
            "tomoul_tables_withheld",
            "RoutingTables that would have lost most of their routes though no deletion explained it, by region",
            ["region"],
            registry=self.registry,
        )
        self.writes = Counter(
            "tomoul_api_writes", "Writes to the API server by verb and kind", ["verb", "kind"], registry=self.registry
        )
        self.contested = Counter(
            "tomoul_contested",
            "Repairs that were put off, because somebody else changes the object back as often, by kind",
            ["kind"],
            registry=self.registry,
        )
        self.events = Counter(
            "tomoul_events",
            "Events of Kubernetes by outcome: written, counted as the same again, failed, or dropped as too many",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("written", "counted", "failed", "dropped"):
            self.events.labels(outcome)
        self.repairs = Counter(
            "tomoul_resyncs",
            "Lists that repair what watches miss, by kind and outcome",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.missed = Counter(
            "tomoul_watch_missed",
            "Objects of which a list told something that the watch had not, by kind",
            ["kind"],
            registry=self.registry,
        )
        self.acknowledgement_seconds = Histogram(
            "tomoul_route_acknowledgement_seconds",
            "Seconds from a change of one of a region's RoutingTables until every live gateway had accepted it",
            ["region"],
            buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300),
            registry=self.registry,
        )


def loop_lag(registry: CollectorRegistry) -> Gauge:
    """Seconds by which the event loop was late at its last heartbeat."""
    return Gauge("tomoul_event_loop_lag_seconds", "Seconds by which the event loop was late", registry=registry)
