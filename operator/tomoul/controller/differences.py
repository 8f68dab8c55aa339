"""Differences: what of an object decides whom its change concerns."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tomoul.api.conditions import ConditionType
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import MAX_TENANT_PROBLEMS, RoutingTable, TenantProblem
from tomoul.api.tenant import Tenant
from tomoul.controller.children import Child
from tomoul.controller.pods import Pod
from tomoul.plan.podfact import PodFact
from tomoul.plan.world import DeploymentFact, NodeFact


def is_live(pod: Pod | None) -> bool:
    """Whether a gateway serves."""
    return pod is not None and pod.fact.ready and not pod.fact.terminating


def is_lost(node: NodeFact | None) -> bool:
    """Whether a node is there whose kubelet is silent or not ready."""
    return node is not None and not node.reachable


def acknowledging(table: Child[RoutingTable | None] | None) -> set[str]:
    """Gateways that have acknowledged some version of the table."""
    if table is None or table.fact is None:
        return set()
    return {entry.name for entry in table.fact.status.gateways if entry.accepted_generation}


def same_table(old: Child[RoutingTable | None], new: Child[RoutingTable | None]) -> bool:
    """Whether two states of a table differ in nothing but what gateways have said."""
    if old.fact is None or new.fact is None or old.fact.spec is not new.fact.spec:
        return False
    return replace(old, fact=None) == replace(new, fact=None)


def problems(table: Child[RoutingTable | None] | None) -> set[TenantProblem]:
    """What the gateways say of tenants."""
    if table is None or table.fact is None:
        return set()
    return {problem for entry in table.fact.status.gateways for problem in entry.tenant_problems}


def tells_of_no_more(table: Child[RoutingTable | None] | None) -> bool:
    """Whether a gateway has said of as many tenants as it may that it does not take all their keys."""
    if table is None or table.fact is None:
        return False
    return any(len(entry.tenant_problems) >= MAX_TENANT_PROBLEMS for entry in table.fact.status.gateways)


def without_endpoints(table: Child[RoutingTable | None] | None) -> set[tuple[str, str]]:
    """Which gateway has no endpoint of which pool."""
    if table is None or table.fact is None:
        return set()
    return {(entry.name, pool) for entry in table.fact.status.gateways for pool in entry.pools_without_endpoints}


def is_enforced(tenant: Tenant) -> bool:
    """Whether the tenant's status says so."""
    return any(c.type == ConditionType.ENFORCED and c.status == "True" for c in tenant.status.conditions)


def revision(child: Child[Any] | None) -> str:
    """Of a Deployment's pods; nothing for all else."""
    return child.fact.revision if child is not None and isinstance(child.fact, DeploymentFact) else ""


def kinds(pods: Iterable[PodFact]) -> set[tuple[str, str]]:
    """What a table's promises of caches and seeds rest on."""
    return {(pod.prompt_cache, pod.revision) for pod in pods if not pod.ended}


def adapters(pods: Iterable[PodFact]) -> set[str]:
    """Which adapters there are, and under which fields."""
    return {pod.adapters for pod in pods if not pod.ended}


def awaits_routes(model: ModelDeployment, region: str) -> bool:
    """Whether the model should be routed in the region and is not known to be."""
    if all(target.name != region for target in model.spec.regions):
        return False
    for row in model.status.regions:
        if row.name == region:
            return any(c.type == ConditionType.ROUTES_PROGRAMMED and c.status != "True" for c in row.conditions)
    return True
