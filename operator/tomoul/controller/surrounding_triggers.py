"""Surrounding triggers: whom it concerns what others make: nodes, namespaces and APIServices. They only enqueue."""

from collections.abc import Callable

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.controller.differences import is_lost
from tomoul.controller.facts import Namespace
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.observed import Observed
from tomoul.controller.table_queue import TableQueue
from tomoul.controller.workqueue import WorkQueue
from tomoul.kube.store import Change
from tomoul.plan.cpus import cpus_for
from tomoul.plan.multinode import LWS_API, is_multinode
from tomoul.plan.scaling import EXTERNAL_METRICS_API, KEDA_API
from tomoul.plan.seeds import repeats_on_cpus
from tomoul.plan.world import NodeFact

CAPACITY_DELAY = 5.0
"""Seconds that models which wait for GPUs wait for more changes of what is free: there may be many of them."""


class SurroundingTriggers:
    """Regions whose figures change, and models that rest on what is around them."""

    def __init__(
        self,
        observed: Observed,
        queue: WorkQueue[WorkKey],
        tables: TableQueue,
        figures: Callable[[str], None],
    ) -> None:
        """`figures` enqueues a region whose counts have changed."""
        self._observed = observed
        self._queue = queue
        self._tables = tables
        self._figures = figures

    def scaled(self, region: str | None = None) -> None:
        """Enqueue the models that scale, all or those in a region whose gateways tell their calls now, or no more."""
        for key, model in self._observed.world().models.items():
            found = (each for each in model.spec.regions if region is None or each.name == region)
            if any(each.scaling or each.no_store_scaling for each in found):
                self._queue.add(WorkKey(Kind.MODEL, *key))

    def capacity(self, region: str) -> None:
        """Enqueue the models that wait for GPUs in a region whose free ones have changed."""
        for key, model in self._observed.world().models.items():
            if any(row.name == region and row.gpus_needed is not None for row in model.status.regions):
                self._queue.add_after(WorkKey(Kind.MODEL, *key), CAPACITY_DELAY)

    def api(self, name: str) -> None:
        """An APIService has come, changed or gone, or all objects of its kind are known now."""
        if name in (KEDA_API, EXTERNAL_METRICS_API):
            self.scaled()
        if name == LWS_API:
            # Whether they are accepted, and so routed, rests on it.
            self._models_and_tables(lambda model: is_multinode(model.spec))

    def node(self, change: Change[NodeFact]) -> None:
        """One has come, changed or gone."""
        if is_lost(change.old) != is_lost(change.new):
            # Of pods that were not ready before nobody says anything new when their node goes, or comes back.
            for pod in self._observed.pods.values():
                if pod.fact.node == change.key.name and not pod.fact.ready and pod.parent.model is not None:
                    self._queue.add(WorkKey(Kind.MODEL, *pod.parent.model))
        for name, region in self._observed.world().regions.items():
            selector = region.spec.placement.node_selector.items()
            if any(node is not None and selector <= node.labels.items() for node in (change.old, change.new)):
                self._figures(name)
                if change.old is not None and change.new is not None and change.old.labels != change.new.labels:
                    # By its product it may do for other models than before, with as many GPUs.
                    self.capacity(name)
            before, now = (cpus_for(region, node) if node is not None else {} for node in (change.old, change.new))
            if before != now:
                self._cpus(name)

    def _cpus(self, region: str) -> None:
        """Models whose seeds rest on what CPUs the region has."""
        # Tables of other regions say what a model's seeds are worth here.
        self._models_and_tables(
            lambda model: repeats_on_cpus(model.spec) and any(target.name == region for target in model.spec.regions)
        )

    def _models_and_tables(self, concerned: Callable[[ModelDeployment], bool]) -> None:
        """Enqueue these models, and the tables that they are in."""
        keys = [key for key, model in self._observed.world().models.items() if concerned(model)]
        for key in keys:
            self._queue.add(WorkKey(Kind.MODEL, *key))
        if keys:
            self._tables.models(keys)

    def namespace(self, change: Change[Namespace]) -> None:
        """One has come, changed or gone."""
        keys = [key for key in self._observed.models if key.namespace == change.key.name]
        labelled = any(side is not None and side.jurisdictions is not None for side in (change.old, change.new))
        if labelled or change.old is None:  # models wait for it
            for key in keys:
                self._queue.add(WorkKey(Kind.MODEL, *key))
        # One that comes without the label, and one that goes with its models, change nothing of what is routed.
        if labelled:
            self._tables.models(keys)
