"""Observed: all Stores of the operator, and the World made of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tomoul.api.meta import LABEL_MANAGED_BY, MANAGED_BY
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import RoutingTable
from tomoul.api.tenant import Tenant
from tomoul.controller import facts
from tomoul.controller.facts import Child, Declared, Namespace, Pod
from tomoul.kube import resources
from tomoul.kube.resources import Resource
from tomoul.kube.store import Change, Store
from tomoul.plan.claims import Claim, Claims, claims_to
from tomoul.plan.isolation import isolated
from tomoul.plan.loading import DownloadFact
from tomoul.plan.scaling import KEDA_API
from tomoul.plan.world import (
    ApiFact,
    AutoscalerFact,
    CanaryFact,
    DeploymentFact,
    Facts,
    Key,
    NodeFact,
    PodFact,
    Settings,
    World,
)

OURS = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
"""Label selector for what the operator makes, pods included."""

Listener = Callable[[Change[Any]], None]


class Observed:
    """What is known of the cluster. `world()` is a live view: use it without awaiting in between."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener: Listener = lambda change: None
        """Hears every change after the views have been brought up to date."""
        self.tells_owners = True
        """Whether a change concerns the owner of what changes; see `telling_owners`."""
        self.models: Store[Declared[ModelDeployment]] = Store(
            resources.MODEL_DEPLOYMENTS,
            lambda item: facts.declared(item, ModelDeployment),
            trigger=facts.spec_of,
            listener=self._on_model,
        )
        self.regions: Store[Declared[Region]] = Store(
            resources.REGIONS,
            lambda item: facts.declared(item, Region),
            trigger=facts.spec_of,
            listener=self._on_region,
        )
        self.tenants: Store[Declared[Tenant]] = Store(
            resources.TENANTS,
            lambda item: facts.declared(item, Tenant),
            trigger=facts.spec_of,
            listener=self._on_tenant,
        )
        self.deployments: Store[Child[DeploymentFact]] = Store(
            resources.DEPLOYMENTS, facts.deployment, selector=OURS, listener=self._on_deployment
        )
        self.tables: Store[Child[RoutingTable | None]] = Store(
            resources.ROUTING_TABLES, facts.RoutingTableReader(), listener=self._on_table
        )
        self.pods: Store[Pod] = Store(resources.PODS, facts.pod, selector=OURS, listener=self._on_pod)
        self.nodes: Store[NodeFact] = Store(resources.NODES, facts.node, listener=self._on_node)
        self.namespaces: Store[Namespace] = Store(resources.NAMESPACES, facts.namespace, listener=self._on_namespace)
        self.autoscalers: Store[Child[AutoscalerFact]] = Store(
            resources.HORIZONTAL_POD_AUTOSCALERS, facts.autoscaler, selector=OURS, listener=self._on_autoscaler
        )
        self.apis: Store[ApiFact] = Store(resources.API_SERVICES, facts.api_service, listener=self._on_api)
        self.scaled_objects: Store[Child[AutoscalerFact]] = Store(
            resources.SCALED_OBJECTS, facts.scaled_object, selector=OURS, listener=self._on_autoscaler
        )
        self.others: Mapping[Resource, Store[Child[None]]] = {
            resource: Store(resource, facts.child, selector=OURS, listener=self._on_child)
            for resource in (
                resources.SERVICES,
                resources.SERVICE_ACCOUNTS,
                resources.POD_DISRUPTION_BUDGETS,
                resources.NETWORK_POLICIES,
                resources.ROLES,
                resources.ROLE_BINDINGS,
            )
        }
        self.declared: Mapping[Resource, Store[Any]] = {
            store.resource: store for store in (self.regions, self.models, self.tenants)
        }
        """Stores of what people write."""
        stores: tuple[Store[Any], ...] = (
            self.regions,
            self.nodes,
            self.namespaces,
            self.models,
            self.tenants,
            self.tables,
            self.deployments,
            self.pods,
            self.autoscalers,
            self.apis,
            *self.others.values(),
        )
        self.stores: Mapping[Resource, Store[Any]] = {store.resource: store for store in stores}
        self.optional: Mapping[str, Store[Any]] = {KEDA_API: self.scaled_objects}
        """Stores of kinds that may not exist, by the APIService that tells whether they do; fed by `optional.py`."""
        self._optional = {store.resource: store for store in self.optional.values()}
        self._models: dict[Key, ModelDeployment] = {}
        self._unreadable_models: dict[Key, str | None] = {}
        self._by_model_id: dict[str, set[Key]] = {}
        self._regions: dict[str, Region] = {}
        self._unreadable_regions: set[str] = set()
        self._tenants: dict[Key, Tenant] = {}
        self._unreadable_tenants: set[Key] = set()
        self._deployments: dict[Key, DeploymentFact] = {}
        self._tables: dict[str, RoutingTable] = {}
        self._autoscalers: dict[Key, AutoscalerFact] = {}
        self._apis: dict[str, ApiFact] = {}
        self._pods: dict[Key, dict[Key, PodFact]] = {}
        self._pods_of: dict[Key, tuple[PodFact, ...]] = {}
        self._nodes: tuple[NodeFact, ...] | None = None
        self._jurisdictions: dict[str, AbstractSet[str]] = {}
        self._children: dict[str, set[tuple[Resource, Key]]] = {}
        self._claims: dict[str, tuple[Claim, ...]] = {}
        self.downloads: dict[Key, DownloadFact] = {}
        """What the loaders of pods said last; `set_download` keeps it."""
        self.canaries: dict[Key, CanaryFact] = {}
        """What gateways counted of canaries, by their Deployments; the canary watch keeps it."""
        self.withheld: dict[str, str] = {}
        """Why a region's newest RoutingTable is not published; `shrink.py` keeps it."""

    @contextmanager
    def telling_owners(self, tells: bool) -> Iterator[None]:
        """Whether changes in the `with` block, in which nothing may be awaited, concern the owners of what changes."""
        before = self.tells_owners
        self.tells_owners = tells
        try:
            yield
        finally:
            self.tells_owners = before

    @property
    def synced(self) -> bool:
        """Whether a complete list of every kind has been seen."""
        return all(store.synced for store in self.stores.values())

    def world(self) -> World:
        """Everything that a plan depends on, as it is known now."""
        if self._nodes is None:
            self._nodes = tuple(self.nodes[key] for key in sorted(self.nodes))
        return World(
            settings=self.settings,
            regions=self._regions,
            models=self._models,
            tenants=self._tenants,
            facts=Facts(
                deployments=self._deployments,
                pods=self._pods_of,
                nodes=self._nodes,
                tables=self._tables,
                canaries=self.canaries,
                autoscalers=self._autoscalers,
                apis=self._apis,
                withheld=self.withheld,
            ),
            jurisdictions=self._jurisdictions,
            unreadable_regions=self._unreadable_regions,
            unreadable_models=self._unreadable_models,
            unreadable_tenants=self._unreadable_tenants,
        )

    def claims(self) -> Claims:
        """Who owns which model id where: a live view, in which a change touches only the names that it concerns."""
        return Claims(self._claims)

    def claimants(self, ids: Iterable[str]) -> set[Key]:
        """ModelDeployments with one of these ids or aliases."""
        return {key for name in ids for key in self._by_model_id.get(name, ())}

    def children(self, owner_uid: str) -> set[tuple[Resource, Key]]:
        """Objects whose controlling owner has this uid."""
        return set(self._children.get(owner_uid, ()))

    def child(self, resource: Resource, key: Key) -> Child[Any] | None:
        """An object that the operator makes, as it was last seen."""
        store = self.store(resource)
        return store.get(key) if store is not None else None

    def store(self, resource: Resource) -> Store[Any] | None:
        """The Store of a kind, or None if nothing is kept of it."""
        found = self.stores.get(resource)
        return found if found is not None else self._optional.get(resource)

    def is_listed(self, resource: Resource) -> bool:
        """Whether it is known what there is of a kind; of one that may not exist that can take longer."""
        store = self._optional.get(resource)
        return store is None or store.synced

    def _on_model(self, change: Change[Declared[ModelDeployment]]) -> None:
        before = self._models.get(change.key)
        self._unreadable_models.pop(change.key, None)
        if change.new is None:
            self._models.pop(change.key, None)
        elif change.new.resource is not None:
            self._models[change.key] = isolated(change.new.resource, self.settings)
        elif before is None and not change.new.deleting:
            self._unreadable_models[change.key] = change.new.model_id
        # An object that has become invalid goes on with what it was: its routes must not vanish with its typing error.
        after = self._models.get(change.key)
        if change.relevant:
            for name in model_ids(before):
                self._by_model_id.get(name, set()).discard(change.key)
            for name in model_ids(after):
                self._by_model_id.setdefault(name, set()).add(change.key)
            for name in {*model_ids(before), *model_ids(after)}:
                keys = self._by_model_id.get(name, set())
                if rivals := claims_to(name, keys, self._models):
                    self._claims[name] = rivals
                else:
                    self._claims.pop(name, None)
                if not keys:
                    self._by_model_id.pop(name, None)
        self.listener(change)

    def _on_region(self, change: Change[Declared[Region]]) -> None:
        self._unreadable_regions.discard(change.key.name)
        if change.new is None:
            self._regions.pop(change.key.name, None)
        elif change.new.resource is not None:
            self._regions[change.key.name] = change.new.resource
        elif change.key.name not in self._regions and not change.new.deleting:
            self._unreadable_regions.add(change.key.name)
        self.listener(change)

    def _on_tenant(self, change: Change[Declared[Tenant]]) -> None:
        self._unreadable_tenants.discard(change.key)
        if change.new is None:
            self._tenants.pop(change.key, None)
        elif change.new.resource is not None:
            self._tenants[change.key] = change.new.resource
        elif change.key not in self._tenants and not change.new.deleting:
            self._unreadable_tenants.add(change.key)
        self.listener(change)

    def _on_deployment(self, change: Change[Child[DeploymentFact]]) -> None:
        if change.new is None:
            self._deployments.pop(change.key, None)
        else:
            self._deployments[change.key] = change.new.fact
        self._on_child(change)

    def _on_table(self, change: Change[Child[RoutingTable | None]]) -> None:
        if change.new is None or change.new.fact is None:
            self._tables.pop(change.key.name, None)
        else:
            self._tables[change.key.name] = change.new.fact
        self._on_child(change)

    def _on_autoscaler(self, change: Change[Child[AutoscalerFact]]) -> None:
        # While one kind takes over from the other, both may have the name: the new one's fact counts.
        if change.new is not None:
            self._autoscalers[change.key] = change.new.fact
        elif change.old is not None and self._autoscalers.get(change.key) == change.old.fact:
            del self._autoscalers[change.key]
        self._on_child(change)

    def _on_api(self, change: Change[ApiFact]) -> None:
        if change.new is None:
            self._apis.pop(change.key.name, None)
        else:
            self._apis[change.key.name] = change.new
        self.listener(change)

    def _on_pod(self, change: Change[Pod]) -> None:
        for pod, present in ((change.old, False), (change.new, True)):
            if pod is None:
                continue
            siblings = self._pods.setdefault(pod.deployment, {})
            if present:
                siblings[change.key] = self._with_download(change.key, pod.fact)
            else:
                siblings.pop(change.key, None)
            self._view_pods(pod.deployment)
        self.listener(change)

    def set_download(self, key: Key, fact: DownloadFact | None) -> None:
        """What the loader of a pod said last, or None if it is not asked any more."""
        if fact is None:
            self.downloads.pop(key, None)
        else:
            self.downloads[key] = fact
        pod = self.pods.get(key)
        if pod is not None:
            self._pods[pod.deployment][key] = self._with_download(key, pod.fact)
            self._view_pods(pod.deployment)

    def _view_pods(self, deployment: Key) -> None:
        siblings = self._pods[deployment]
        self._pods_of[deployment] = tuple(siblings[key] for key in sorted(siblings))
        if not siblings:
            del self._pods[deployment], self._pods_of[deployment]

    def _with_download(self, key: Key, pod: PodFact) -> PodFact:
        # What a loader said that does not run any more is over, whoever has not heard of that yet.
        return replace(pod, download=self.downloads.get(key)) if pod.loading and key in self.downloads else pod

    def _on_node(self, change: Change[NodeFact]) -> None:
        self._nodes = None
        self.listener(change)

    def _on_namespace(self, change: Change[Namespace]) -> None:
        if change.new is None or change.new.jurisdictions is None:
            self._jurisdictions.pop(change.key.name, None)
        else:
            self._jurisdictions[change.key.name] = change.new.jurisdictions
        self.listener(change)

    def _on_child(self, change: Change[Any]) -> None:
        old: Child[Any] | None = change.old
        new: Child[Any] | None = change.new
        if old is not None:
            siblings = self._children.get(old.owner_uid, set())
            siblings.discard((change.resource, change.key))
            if not siblings:
                self._children.pop(old.owner_uid, None)
        if new is not None:
            self._children.setdefault(new.owner_uid, set()).add((change.resource, change.key))
        self.listener(change)


def model_ids(model: ModelDeployment | None) -> tuple[str, ...]:
    """Id, aliases and the ids of adapters."""
    if model is None:
        return ()
    return (model.spec.model.id, *model.spec.model.aliases, *(adapter.id for adapter in model.spec.adapters))
