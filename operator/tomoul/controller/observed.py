"""Observed: all Stores of the operator, and the World made of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from tomoul.api.meta import LABEL_MANAGED_BY, MANAGED_BY
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import RoutingTable
from tomoul.api.tenant import Tenant
from tomoul.controller import children, facts, pods, tables, workloads
from tomoul.controller.children import Child
from tomoul.controller.children_by_owner import ChildrenByOwner
from tomoul.controller.declared import Declared, declared, spec_of
from tomoul.controller.facts import Namespace
from tomoul.controller.named_models import NamedModels
from tomoul.controller.named_tables import NamedTables
from tomoul.controller.pods import Pod
from tomoul.controller.pods_by_deployment import PodsByDeployment
from tomoul.controller.readable import Readable
from tomoul.controller.surroundings import Surroundings
from tomoul.controller.workload_facts import WorkloadFacts
from tomoul.kube import resources
from tomoul.kube.resources import Resource
from tomoul.kube.store import Change, Store
from tomoul.plan.claims import Claims
from tomoul.plan.loading import DownloadFact
from tomoul.plan.multinode import LWS_API
from tomoul.plan.scaling import KEDA_API
from tomoul.plan.settings import Settings
from tomoul.plan.world import ApiFact, AutoscalerFact, CanaryFact, DeploymentFact, Facts, Key, NodeFact, World

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
        self._named = NamedModels(settings)
        self._regions: Readable[str, Region] = Readable(lambda key: key.name)
        self._tenants: Readable[Key, Tenant] = Readable(lambda key: key)
        self._workloads = WorkloadFacts()
        self._tables: dict[str, RoutingTable] = {}
        self.table_names = NamedTables()
        self._surroundings = Surroundings()
        self._pods_of = PodsByDeployment()
        self._children = ChildrenByOwner()
        shown, around = self._shown, self._surroundings
        self.models: Store[Declared[ModelDeployment]] = Store(
            resources.MODEL_DEPLOYMENTS,
            lambda item: declared(item, ModelDeployment),
            trigger=spec_of,
            listener=shown(self._named.see),
        )
        self.regions: Store[Declared[Region]] = Store(
            resources.REGIONS, lambda item: declared(item, Region), trigger=spec_of, listener=shown(self._regions.see)
        )
        self.tenants: Store[Declared[Tenant]] = Store(
            resources.TENANTS, lambda item: declared(item, Tenant), trigger=spec_of, listener=shown(self._tenants.see)
        )
        self.deployments: Store[Child[DeploymentFact]] = Store(
            resources.DEPLOYMENTS,
            workloads.deployment,
            selector=OURS,
            listener=shown(self._workloads.see_deployment, self._children.see),
        )
        self.tables: Store[Child[RoutingTable | None]] = Store(
            resources.ROUTING_TABLES, tables.RoutingTableReader(), listener=self._on_table
        )
        self.pods: Store[Pod] = Store(resources.PODS, pods.pod, selector=OURS, listener=shown(self._pods_of.see))
        self.nodes: Store[NodeFact] = Store(resources.NODES, facts.node, listener=shown(around.see_node))
        self.namespaces: Store[Namespace] = Store(
            resources.NAMESPACES, facts.namespace, listener=shown(around.see_namespace)
        )
        self.autoscalers: Store[Child[AutoscalerFact]] = Store(
            resources.HORIZONTAL_POD_AUTOSCALERS,
            workloads.autoscaler,
            selector=OURS,
            listener=shown(self._workloads.see_autoscaler, self._children.see),
        )
        self.apis: Store[ApiFact] = Store(resources.API_SERVICES, facts.api_service, listener=shown(around.see_api))
        self.scaled_objects: Store[Child[AutoscalerFact]] = Store(
            resources.SCALED_OBJECTS,
            workloads.scaled_object,
            selector=OURS,
            listener=shown(self._workloads.see_autoscaler, self._children.see),
        )
        self.leader_worker_sets: Store[Child[DeploymentFact]] = Store(
            resources.LEADER_WORKER_SETS,
            workloads.leader_worker_set,
            selector=OURS,
            listener=shown(self._workloads.see_group_set, self._children.see),
        )
        self.others: Mapping[Resource, Store[Child[None]]] = {
            resource: Store(resource, children.child, selector=OURS, listener=shown(self._children.see))
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
        self.optional: Mapping[str, Store[Any]] = {
            KEDA_API: self.scaled_objects,
            LWS_API: self.leader_worker_sets,
        }
        """Stores of kinds that may not exist, by the APIService that tells whether they do; fed by `optional.py`."""
        self._optional = {store.resource: store for store in self.optional.values()}
        self.downloads = self._pods_of.downloads
        self.canaries: dict[Key, CanaryFact] = {}
        """What gateways counted of canaries, by their Deployments; the canary watch keeps it."""
        self.silent_gateways: dict[str, str] = {}
        """A live gateway of a region that does not tell its calls; the sampler keeps it."""
        self.withheld: dict[str, str] = {}
        """Why the newest state of a RoutingTable is not published, by its name; `shrink.py` keeps it."""
        self.confirmed: dict[str, AbstractSet[str]] = {}
        """Ids whose loss to a region the API server has confirmed, and whose entries are still there; likewise."""

    def _shown(self, *views: Listener) -> Listener:
        """A listener of a Store: brings the views up to date, then tells of the change."""

        def heard(change: Change[Any]) -> None:
            for see in views:
                see(change)
            self.listener(change)

        return heard

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
        return World(
            settings=self.settings,
            regions=self._regions.resources,
            models=self._named.models,
            tenants=self._tenants.resources,
            facts=Facts(
                deployments=self._workloads.deployments,
                group_sets=self._workloads.group_sets,
                pods=self._pods_of.pods,
                nodes=self._surroundings.nodes,
                tables=self._tables,
                canaries=self.canaries,
                autoscalers=self._workloads.autoscalers,
                apis=self._surroundings.apis,
                silent_gateways=self.silent_gateways,
                withheld=self.withheld,
            ),
            jurisdictions=self._surroundings.jurisdictions,
            unreadable_regions=self._regions.unreadable,
            unreadable_models=self._named.unreadable,
            unreadable_tenants=self._tenants.unreadable,
        )

    def claims(self) -> Claims:
        """Who owns which model id where: a live view, in which a change touches only the names that it concerns."""
        return Claims(self._named.claims, self._named.served)

    def claimants(self, ids: Iterable[str]) -> set[Key]:
        """ModelDeployments with one of these ids or aliases."""
        return self._named.claimants(ids)

    def children(self, owner_uid: str) -> set[tuple[Resource, Key]]:
        """Objects whose controlling owner has this uid."""
        return self._children.of(owner_uid)

    def child(self, resource: Resource, key: Key) -> Child[Any] | None:
        """An object that the operator makes, as it was last seen."""
        store = self.store(resource)
        return store.get(key) if store is not None else None

    def was_there(self, resource: Resource, key: Key) -> bool:
        """Whether there is no such object any more, and was one a moment ago."""
        store = self.store(resource)
        return store is not None and store.is_deleted(key)

    def store(self, resource: Resource) -> Store[Any] | None:
        """The Store of a kind, or None if nothing is kept of it."""
        found = self.stores.get(resource)
        return found if found is not None else self._optional.get(resource)

    def is_listed(self, resource: Resource) -> bool:
        """Whether it is known what there is of a kind; of one that may not exist that can take longer."""
        store = self._optional.get(resource)
        return store is None or store.synced

    def unlisted(self, resource: Resource) -> str:
        """Why the last list of a kind has failed, or nothing."""
        store = self.store(resource)
        return store.unlisted if store is not None else ""

    def _on_table(self, change: Change[Child[RoutingTable | None]]) -> None:
        if change.new is None or change.new.fact is None:
            self._tables.pop(change.key.name, None)
        else:
            self._tables[change.key.name] = change.new.fact
        old, new = (child.fact if child is not None else None for child in (change.old, change.new))
        self.table_names.see(change.key.name, old, new)
        self._children.see(change)
        self.listener(change)

    def set_download(self, key: Key, fact: DownloadFact | None) -> None:
        """What the loader of a pod said last, or None if it is not asked any more."""
        self._pods_of.set_download(key, self.pods.get(key), fact)
