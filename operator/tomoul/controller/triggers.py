"""Triggers: which keys a change concerns. They only enqueue."""

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.controller.children import Child
from tomoul.controller.declared import Declared
from tomoul.controller.differences import adapters, is_live, kinds, revision
from tomoul.controller.gateway_triggers import ROUTES_DELAY, GatewayTriggers
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.named_models import model_ids
from tomoul.controller.observed import Observed
from tomoul.controller.pods import Pod
from tomoul.controller.surrounding_triggers import SurroundingTriggers
from tomoul.controller.table_queue import TableQueue
from tomoul.controller.workqueue import WorkQueue
from tomoul.kube import resources
from tomoul.kube.store import Change
from tomoul.plan.podfact import PodFact
from tomoul.plan.world import Key

REGION_DELAY = 1.0
"""Seconds that a Region waits where only its figures change."""


class Triggers:
    """The listener of an Observed."""

    def __init__(
        self, observed: Observed, queue: WorkQueue[WorkKey], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._observed = observed
        self._queue = queue
        self.tables = TableQueue(observed, queue, monotonic)
        self.around = SurroundingTriggers(observed, queue, self.tables, self.figures)
        self._said = GatewayTriggers(observed, queue)

    def __call__(self, change: Change[Any]) -> None:
        """Enqueue what the change concerns."""
        if not change.relevant:
            return
        match change.resource:
            case resources.MODEL_DEPLOYMENTS:
                self._model(change)
            case resources.REGIONS:
                self._region(change.key.name)
            case resources.TENANTS:
                self._tenant(change.key)
            case resources.ROLES | resources.ROLE_BINDINGS:
                self._key_access(change.key.namespace)
            case resources.NODES:
                self.around.node(change)
            case resources.NAMESPACES:
                self.around.namespace(change)
            case resources.API_SERVICES:
                self.around.api(change.key.name)
            case resources.PODS:
                self._pod(change)
            case resources.ROUTING_TABLES:
                self.tables.changed_itself(change.key.name, change.old, change.new)
                self._said.table(change)
            case _:
                self._child(change)

    def everything(self) -> None:
        """Enqueue all that there is to keep, to find what no event has told."""
        for key in self._observed.regions:
            self._queue.add(WorkKey(Kind.REGION, *key))
        for key in self._observed.models:
            self._queue.add(WorkKey(Kind.MODEL, *key))
        for key in self._observed.tenants:
            self._queue.add(WorkKey(Kind.TENANT, *key))
            self._key_access(key.namespace)
        for resource in (resources.ROLES, resources.ROLE_BINDINGS):
            for key in self._observed.stores[resource]:
                self._key_access(key.namespace)
        self.tables.every()

    def figures(self, region: str) -> None:
        """Enqueue a region whose counts have changed."""
        self._queue.add_after(WorkKey(Kind.REGION, "", region), REGION_DELAY)

    def withheld(self, region: str) -> None:
        """Enqueue whom it concerns that a table of a region is withheld, or is not any more."""
        self._said.gateways(region, everyone=False)

    def told(self, model: Key) -> None:
        """Enqueue a ModelDeployment whose canary's calls were counted, or whose loaders said how far they are."""
        self._queue.add(WorkKey(Kind.MODEL, *model))

    def tried(self, model: Key, regions: Iterable[str]) -> None:
        """Enqueue what acts upon a verdict on a canary in these regions, or sends calls to one that is new."""
        self._queue.add(WorkKey(Kind.MODEL, *model))
        self.tables.models([model], regions)

    @property
    def patience(self) -> float:
        """Seconds within which a change is in all tables, and their gateways have said so, if nothing is amiss."""
        return 2 * (ROUTES_DELAY + self.tables.longest_pause)

    def later(self, model: Key, seconds: float) -> None:
        """Enqueue a ModelDeployment in some seconds."""
        self._queue.add_after(WorkKey(Kind.MODEL, *model), seconds)

    def _model(self, change: Change[Declared[ModelDeployment]]) -> None:
        self._queue.add(WorkKey(Kind.MODEL, *change.key))
        versions = [declared.resource for declared in (change.old, change.new) if declared is not None]
        for model in versions:
            if model is not None:
                for target in model.spec.regions:
                    self.figures(target.name)
        names = {name for model in versions for name in model_ids(model)}
        rivals = self._observed.claimants(names)
        for rival in rivals:
            self._queue.add(WorkKey(Kind.MODEL, *rival))
        if change.old is None or change.new is None or len({model_ids(model) for model in versions}) > 1:
            # Tenants name models.
            self._tenants(self._observed.tenants)
            # There are more or fewer routes.
            self.tables.every_first()
        # The tables of every region: they also say in which other regions models are.
        if any(model is None for model in versions):
            self.tables.every()  # of one that cannot be read nobody knows which entries are its own
        else:
            self.tables.changed([model for model in versions if model is not None], names)
            self.tables.models(rivals)

    def _tenant(self, key: Key) -> None:
        self._queue.add(WorkKey(Kind.TENANT, *key))
        self._key_access(key.namespace)
        self.tables.every_first()

    def _key_access(self, namespace: str) -> None:
        self._queue.add(WorkKey(Kind.KEY_ACCESS, namespace, ""))

    def _tenants(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._queue.add(WorkKey(Kind.TENANT, *key))

    def _region(self, name: str) -> None:
        self._queue.add(WorkKey(Kind.REGION, "", name))
        for other in self._observed.world().regions:
            if self._observed.settings.hosts(other):
                self.figures(other)  # it says with which others it shares nodes
        self._tenants(self._observed.tenants)
        self.tables.region(name)
        self.tables.every()
        for key, model in self._observed.world().models.items():
            if any(target.name == name for target in model.spec.regions):
                self._queue.add(WorkKey(Kind.MODEL, *key))

    def _pod(self, change: Change[Pod]) -> None:
        for parent in {pod.parent for pod in (change.old, change.new) if pod is not None}:
            if parent.model is not None:
                self._queue.add(WorkKey(Kind.MODEL, *parent.model))
                self.figures(parent.region)
                if self._changed(change, kinds):
                    # What the table promises of the model's cache and seeds rests on the pods that there are.
                    self.tables.models([parent.model], [parent.region])
                if self._changed(change, adapters):
                    # Where the model's adapters can be called does so too, and every region's tables say it.
                    self.tables.models([parent.model])
            else:
                come_or_gone = is_live(change.old) != is_live(change.new)
                self._said.gateways(parent.region, everyone=come_or_gone)
                if change.new is None:
                    # Its acknowledgements go with it.
                    self.tables.region(parent.region)
                elif come_or_gone:
                    self.tables.moving(parent.region)

    def _child(self, change: Change[Child[Any]]) -> None:
        for parent in {child.parent for child in (change.old, change.new) if child is not None}:
            if parent.model is None:
                owner = WorkKey(Kind.REGION, "", parent.region)
            else:
                owner = WorkKey(Kind.MODEL, *parent.model)
                if revision(change.old) != revision(change.new):
                    # Without pods the fingerprint in the table is that of the Deployment.
                    self.tables.models([parent.model], [parent.region])
            if self._observed.tells_owners:
                self._queue.add(owner)

    def _changed(self, change: Change[Pod], sorts: Callable[[Iterable[PodFact]], AbstractSet[object]]) -> bool:
        """Whether there are sorts among the pods of one Deployment now that were not, or the reverse."""
        found = change.new if change.new is not None else change.old
        assert found is not None, "a change has an old or a new side"
        now = self._observed.world().facts.pods.get(found.deployment, ())
        before = [fact for fact in now if fact.name != change.key.name]
        before += [change.old.fact] if change.old is not None else []
        return sorts(now) != sorts(before)
