"""Gauges of the operator itself, read when somebody asks: leadership, queue, failing keys, feeds."""

import time
from collections import Counter
from heapq import nlargest

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.lease import Lease
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue

NAMED_KEYS = 20
"""Failing keys that are told by name. More would let a cluster full of mistakes make as many series."""


class OperatorGauges(Collector):
    """What one operator process knows of itself."""

    def __init__(self, observed: Observed, queue: WorkQueue[WorkKey], lease: Lease) -> None:
        self._observed = observed
        self._queue = queue
        self._lease = lease

    def collect(self) -> list[Metric]:
        """The gauges' present values."""
        leader = GaugeMetricFamily("tomoul_leader", "Whether this replica writes", value=float(self._lease.held))
        return [leader, *self._of_queue(), *self._of_feeds()]

    def _of_queue(self) -> list[Metric]:
        failures = self._queue.failures
        by_kind = Counter(key.kind for key in failures)
        failing = GaugeMetricFamily("tomoul_failing_keys", "Keys whose last attempt failed, by kind", labels=["kind"])
        for kind in Kind:
            failing.add_metric([kind], by_kind[kind])
        named = GaugeMetricFamily(
            "tomoul_key_failures",
            f"Failures in a row of the {NAMED_KEYS} keys that have failed most often",
            labels=["kind", "object_namespace", "object"],
        )
        for key, count in nlargest(NAMED_KEYS, failures.items(), key=lambda item: item[1]):
            named.add_metric([key.kind, key.namespace, key.name], count)
        return [
            GaugeMetricFamily("tomoul_queue_depth", "Keys that wait for a worker", value=float(len(self._queue))),
            GaugeMetricFamily(
                "tomoul_queue_delayed",
                "Keys that wait for their time: after a failure, or to be done together with what comes next",
                value=float(self._queue.delayed),
            ),
            GaugeMetricFamily(
                "tomoul_queue_processing", "Keys that are being worked on", value=float(self._queue.processing)
            ),
            GaugeMetricFamily(
                "tomoul_queue_oldest_seconds",
                "Seconds that the longest waiting key has waited; it grows for ever in a replica that does not lead",
                value=self._queue.oldest_age,
            ),
            failing,
            named,
        ]

    def _of_feeds(self) -> list[Metric]:
        ages = GaugeMetricFamily(
            "tomoul_feed_age_seconds", "Seconds since a watch or a list last told of a kind", labels=["kind"]
        )
        objects = GaugeMetricFamily("tomoul_objects", "Objects known, by kind", labels=["kind"])
        for resource, store in self._observed.stores.items():
            ages.add_metric([resource.kind], time.monotonic() - store.last_event)
            objects.add_metric([resource.kind], len(store))
        return [ages, objects]
