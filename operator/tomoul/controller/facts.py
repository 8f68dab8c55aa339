"""Facts: what is kept of nodes, namespaces and APIServices, which others make.

Pure functions from what the API server returns, as those of `children.py`, `workloads.py`, `pods.py` and `tables.py`.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tomoul.kube.client import Object
from tomoul.plan.jurisdiction import allowed_jurisdictions
from tomoul.plan.quantity import amounts
from tomoul.plan.world import ApiFact, Key, NodeFact, Taint


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, in which models may run or not."""

    jurisdictions: AbstractSet[str] | None
    """Those that its label allows; None without the label."""


def api_service(item: Object) -> ApiFact:
    """An APIService."""
    spec = item.get("spec", {})
    service = spec.get("service")
    found = Key(service.get("namespace", ""), service.get("name", "")) if service else None
    return ApiFact(found, spec.get("caBundle", ""))


def node(item: Object) -> NodeFact:
    """A node; one that is cordoned counts as not ready, because nothing new fits there."""
    conditions = {entry["type"]: entry["status"] for entry in item.get("status", {}).get("conditions", ())}
    reachable = conditions.get("Ready") == "True"
    return NodeFact(
        name=item["metadata"]["name"],
        labels=dict(item["metadata"].get("labels") or {}),
        ready=reachable and not item.get("spec", {}).get("unschedulable", False),
        reachable=reachable,
        allocatable=amounts(item.get("status", {}).get("allocatable", {})),
        taints=tuple(
            Taint(entry["key"], entry.get("value", ""), entry["effect"])
            for entry in item.get("spec", {}).get("taints", ())
        ),
    )


def namespace(item: Object) -> Namespace:
    """A namespace."""
    return Namespace(allowed_jurisdictions(item["metadata"].get("labels") or {}))
