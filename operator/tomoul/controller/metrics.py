"""Metrics of the operator, in Prometheus' format on `/metrics`."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tomoul.controller.keys import WorkKey
from tomoul.controller.lease import Lease
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue


class Metrics:
    """Counters that the operator's parts increase."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "tomoul_reconciles", "Reconciles by kind and outcome", ["kind", "outcome"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "tomoul_reconcile_seconds",
            "Duration of reconciles by kind",
            ["kind"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=self.registry,
        )
        self.writes = Counter(
            "tomoul_api_writes", "Writes to the API server by verb and kind", ["verb", "kind"], registry=self.registry
        )
        self.repairs = Counter(
            "tomoul_resyncs",
            "Lists that repair what watches miss, by kind and outcome",
            ["kind", "outcome"],
            registry=self.registry,
        )


class Watched(Collector):
    """Gauges that are read when somebody asks."""

    def __init__(self, observed: Observed, queue: WorkQueue[WorkKey], lease: Lease) -> None:
        self._observed = observed
        self._queue = queue
        self._lease = lease

    def collect(self) -> list[Metric]:
        """The gauges' present values."""
        ages = GaugeMetricFamily(
            "tomoul_feed_age_seconds", "Seconds since the API server was last heard, by kind", labels=["kind"]
        )
        objects = GaugeMetricFamily("tomoul_objects", "Objects known, by kind", labels=["kind"])
        for resource, store in self._observed.stores.items():
            ages.add_metric([resource.kind], time.monotonic() - store.last_event)
            objects.add_metric([resource.kind], len(store))
        return [
            GaugeMetricFamily("tomoul_leader", "Whether this replica writes", value=float(self._lease.held)),
            GaugeMetricFamily("tomoul_queue_depth", "Keys that wait for a worker", value=float(len(self._queue))),
            GaugeMetricFamily(
                "tomoul_queue_oldest_seconds",
                "Seconds that the longest waiting key has waited",
                value=self._queue.oldest_age,
            ),
            GaugeMetricFamily("tomoul_failing_keys", "Keys whose last attempt failed", value=self._queue.failing),
            ages,
            objects,
        ]


def loop_lag(registry: CollectorRegistry) -> Gauge:
    """Seconds by which the event loop was late at its last heartbeat."""
    return Gauge("tomoul_event_loop_lag_seconds", "Seconds by which the event loop was late", registry=registry)
