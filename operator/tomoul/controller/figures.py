"""Figures: gauges of what runs where, by region and model, read when somebody asks.

Every replica tells them, from what it observes: a dashboard takes the leader's, or the greatest.
"""

from collections import Counter

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.region import RegionState
from tomoul.controller.acknowledgement import Acknowledgements
from tomoul.controller.observed import Observed
from tomoul.plan.written import why_withheld

_INTENDED = (Reason.REGION_DISABLED, Reason.SCALED_TO_ZERO, Reason.ROLLOUT_IN_PROGRESS, Reason.BEING_DELETED)
"""Reasons for which a model is not Ready as its owner wants it: nobody's alarm.

All wanted replicas serve while a rollout is in progress, a canary's for as long as its owner wants; one that does not
get on has another reason.
"""


class Figures(Collector):
    """What the regions hosted here have, and which models are ready in them."""

    def __init__(self, observed: Observed, acknowledgements: Acknowledgements) -> None:
        self._observed = observed
        self._acknowledgements = acknowledgements

    def collect(self) -> list[Metric]:
        """The gauges' present values."""
        return [*self._of_regions(), *self._of_replicas(), *self._of_models(), *self._of_routes()]

    def _of_regions(self) -> list[Metric]:
        ready = GaugeMetricFamily("tomoul_region_ready", "Whether the Region is Ready", labels=["region"])
        gpus = GaugeMetricFamily(
            "tomoul_region_gpus",
            "GPUs on the region's ready nodes, and those of them that pods of Tomoul request",
            labels=["region", "accelerator", "state"],
        )
        for name, region in self._observed.world().regions.items():
            if not self._observed.settings.hosts(name):
                continue
            # One that is out of use by intent is nobody's alarm.
            if region.spec.state is not RegionState.DISABLED and region.metadata.deletion_timestamp is None:
                ready.add_metric([name], _is_ready(region.status.conditions))
            for found in region.status.accelerators:
                gpus.add_metric([name, found.name, "allocatable"], found.allocatable)
                gpus.add_metric([name, found.name, "requested"], found.requested)
        return [ready, gpus]

    def _of_replicas(self) -> list[Metric]:
        engines = GaugeMetricFamily(
            "tomoul_region_replicas", "Engine pods that are desired and ready", labels=["region", "state"]
        )
        gateways = GaugeMetricFamily(
            "tomoul_region_gateways", "Gateway pods that are desired and ready", labels=["region", "state"]
        )
        counts: Counter[tuple[bool, str, str]] = Counter()
        for name in self._observed.world().regions:
            if self._observed.settings.hosts(name):
                counts.update({(model, name, state): 0 for model in (True, False) for state in ("desired", "ready")})
        for child in (*self._observed.deployments.values(), *self._observed.leader_worker_sets.values()):
            has_model, region = child.parent.model is not None, child.parent.region
            counts[has_model, region, "desired"] += child.fact.replicas
            counts[has_model, region, "ready"] += child.fact.ready
        for (has_model, region, state), count in counts.items():
            (engines if has_model else gateways).add_metric([region, state], count)
        return [engines, gateways]

    def _of_models(self) -> list[Metric]:
        ready = GaugeMetricFamily(
            "tomoul_model_ready",
            "Whether a ModelDeployment is Ready in a region",
            labels=["object_namespace", "object", "model", "region"],
        )
        reasons = GaugeMetricFamily(
            "tomoul_region_models",
            "ModelDeployments by the reason of their Ready condition",
            labels=["region", "reason"],
        )
        counts: Counter[tuple[str, str]] = Counter()
        for region in self._observed.world().regions:
            if self._observed.settings.hosts(region):
                # An alert reads it: without a series nobody could tell that its name is right.
                counts[region, Reason.DOWNLOAD_STALLED] = 0
        for key, model in self._observed.world().models.items():
            for row in model.status.regions:
                if not self._observed.settings.hosts(row.name):
                    continue
                found = next((entry for entry in row.conditions if entry.type == ConditionType.READY), None)
                reason = found.reason if found is not None else ""
                counts[row.name, reason] += 1
                if reason in _INTENDED:
                    continue
                ready.add_metric([key.namespace, key.name, model.spec.model.id, row.name], _is_ready(row.conditions))
        for (region, reason), count in counts.items():
            reasons.add_metric([region, reason], count)
        return [ready, reasons]

    def _of_routes(self) -> list[Metric]:
        lag = GaugeMetricFamily(
            "tomoul_route_acknowledgement_lag_seconds",
            "Seconds for which some live gateway has not accepted a change of a RoutingTable; 0 if all have all",
            labels=["region"],
        )
        for region, seconds in self._acknowledgements.lags().items():
            lag.add_metric([region], seconds)
        withheld = GaugeMetricFamily(
            "tomoul_table_withheld",
            "Whether a RoutingTable's newest state is not published, because no deletion explains what it would lose",
            labels=["region"],
        )
        for name in self._observed.world().regions:
            if self._observed.settings.hosts(name):
                withheld.add_metric([name], float(why_withheld(self._observed.withheld, name) is not None))
        return [lag, withheld]


def _is_ready(conditions: tuple[Condition, ...]) -> float:
    return float(any(entry.type == ConditionType.READY and entry.status == "True" for entry in conditions))
