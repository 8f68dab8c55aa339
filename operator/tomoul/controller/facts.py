"""Facts: what is kept of each kind that the operator watches. Pure functions from what the API server returns."""

import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import ValidationError

from tomoul.api.meta import (
    ANNOTATION_ADAPTERS,
    COMPONENT_GATEWAY,
    LABEL_COMPONENT,
    LABEL_MODEL_DEPLOYMENT,
    LABEL_POOL,
    LABEL_PROMPT_CACHE,
    LABEL_REGION,
    LABEL_REVISION,
)
from tomoul.api.routingtable import RoutingTable
from tomoul.controller.containers import containers, time_of
from tomoul.controller.fields import applied_fields, owned
from tomoul.controller.sharing import shared
from tomoul.kube.client import Object
from tomoul.plan.jurisdiction import allowed_jurisdictions
from tomoul.plan.multinode import LABEL_WORKER_INDEX
from tomoul.plan.naming import pool_name
from tomoul.plan.quantity import amounts
from tomoul.plan.revision import revision_of
from tomoul.plan.world import ApiFact, AutoscalerFact, DeploymentFact, Key, NodeFact, PodFact, Taint

MANAGER = "tomoul-operator"
STATUS_MANAGER = "tomoul-operator-status"
SCALE_MANAGER = "tomoul-operator-scale"
"""Holds `spec.replicas` between the operator, which no longer sets it, and the autoscaler, which does not yet."""
HASH_ANNOTATION = "tomoul.ai/applied-hash"

_OWNER = "<owner>"
"""In the place of the owner's uid in `Child.fields`."""

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Parent:
    """What an object was made for: a ModelDeployment in a region, or a region's gateways."""

    region: str
    model: Key | None = None


@dataclass(frozen=True, slots=True)
class Child(Generic[F]):
    """An object that the operator makes."""

    uid: str
    owner_uid: str
    """uid of the controlling owner, or empty."""
    parent: Parent
    deleting: bool
    hash: str
    """Hash of what was applied last."""
    fields: str
    """`fieldsV1` of what the operator has applied, as JSON; `parsed_fields` reads it."""
    fact: F
    pool: str = ""
    """Of a LeaderWorkerSet: see `pool_of`."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of an engine or a gateway."""

    deployment: Key
    parent: Parent
    fact: PodFact


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, in which models may run or not."""

    jurisdictions: AbstractSet[str] | None
    """Those that its label allows; None without the label."""


def child(item: Object) -> Child[None]:
    """A Service, ServiceAccount, PodDisruptionBudget or NetworkPolicy."""
    return _child(item, None)


def deployment(item: Object) -> Child[DeploymentFact]:
    """A Deployment."""
    status = item.get("status", {})
    fact = DeploymentFact(
        generation=item["metadata"].get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        replicas=item["spec"].get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        total=status.get("replicas", 0),
        revision=_revision(item["spec"].get("template", {}).get("metadata", {})),
        surge=_surges(item["spec"].get("strategy", {})),
        overdue=any(
            entry["type"] == "Progressing" and entry.get("reason") == "ProgressDeadlineExceeded"
            for entry in status.get("conditions", ())
        ),
        template=applied_template(item),
    )
    return _child(item, fact)


def leader_worker_set(item: Object) -> Child[DeploymentFact]:
    """A LeaderWorkerSet; its status counts groups. It knows no deadline."""
    spec, status = item["spec"], item.get("status") or {}
    groups = spec.get("leaderWorkerTemplate", {})
    generation = item["metadata"].get("generation", 0)
    fact = DeploymentFact(
        generation=generation,
        # LeaderWorkerSet tells it from 0.9 on.
        observed_generation=status.get("observedGeneration", generation),
        replicas=spec.get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        total=status.get("replicas", 0),
        revision=revision_of(groups),
        surge=_surges({"rollingUpdate": spec.get("rolloutStrategy", {}).get("rollingUpdateConfiguration", {})}),
        size=groups.get("size", 1),
        template=applied_template(item, "leaderWorkerTemplate"),
    )
    return _child(item, fact, pool_of(item["metadata"]))


class RoutingTableReader:
    """RoutingTables; a spec is read once per generation: gateways write into the status far more often.

    One that does not parse (somebody else's, or of another version) counts as not read.
    """

    def __init__(self) -> None:
        self._read: dict[str, RoutingTable] = {}

    def __call__(self, item: Object) -> Child[RoutingTable | None]:
        """One RoutingTable."""
        metadata = item["metadata"]
        known = self._read.get(metadata["name"])
        same = (metadata["uid"], metadata.get("generation", 0))
        try:
            if known is not None and (known.metadata.uid, known.metadata.generation) == same:
                lean = {**item, "spec": {"region": known.spec.region}}
                table = RoutingTable.model_validate(lean, extra="ignore").model_copy(update={"spec": known.spec})
            else:
                table = shared(RoutingTable.model_validate(item, extra="ignore"))
        except ValidationError:
            return _child(item, None)
        self._read[metadata["name"]] = table
        return _child(item, table)


def autoscaler(item: Object) -> Child[AutoscalerFact]:
    """A HorizontalPodAutoscaler."""
    found = {entry["type"]: entry for entry in item.get("status", {}).get("conditions", ())}
    active, limited = found.get("ScalingActive", {}), found.get("ScalingLimited", {})
    fact = AutoscalerFact(
        kind=item["kind"],
        active=active.get("status", "Unknown"),
        message=active.get("message", "") if active.get("status") == "False" else "",
        at_maximum=limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas",
    )
    return _child(item, fact)


def scaled_object(item: Object) -> Child[AutoscalerFact]:
    """KEDA's ScaledObject."""
    found = {entry["type"]: entry for entry in item.get("status", {}).get("conditions", ())}
    ready = found.get("Ready", {})
    message = ready.get("message", "") if ready.get("status") == "False" else ""
    return _child(item, AutoscalerFact(kind=item["kind"], active=ready.get("status", "Unknown"), message=message))


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


def pod(item: Object) -> Pod:
    """A pod that a Deployment's ReplicaSet or a LeaderWorkerSet made, or another one with our labels, of none."""
    metadata, spec, status = item["metadata"], item["spec"], item.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", ())}
    placed = conditions.get("PodScheduled", {})
    requests: dict[str, int] = {}
    sidecars = [entry for entry in spec.get("initContainers", ()) if entry.get("restartPolicy") == "Always"]
    for container in (*spec.get("containers", ()), *sidecars):
        for name, count in amounts(container.get("resources", {}).get("requests", {})).items():
            requests[name] = requests.get(name, 0) + count
    fact = PodFact(
        name=metadata["name"],
        node=spec.get("nodeName", ""),
        phase=status.get("phase", "Pending"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        scheduled=bool(spec.get("nodeName")),
        unschedulable=placed.get("message", "") if placed.get("reason") == "Unschedulable" else "",
        containers=containers(status),
        created=time_of(metadata.get("creationTimestamp")),
        readiness_changed=time_of(conditions.get("Ready", {}).get("lastTransitionTime")),
        failed_at=time_of(conditions.get("DisruptionTarget", {}).get("lastTransitionTime") or status.get("startTime")),
        failed_reason=status.get("reason", "") if status.get("phase") == "Failed" else "",
        failed_message=status.get("message", "") if status.get("phase") == "Failed" else "",
        requests=requests,
        adapters=(metadata.get("annotations") or {}).get(ANNOTATION_ADAPTERS, ""),
        prompt_cache=(metadata.get("labels") or {}).get(LABEL_PROMPT_CACHE, ""),
        revision=_revision(metadata),
        address=status.get("podIP", ""),
        group_index=_group_index(metadata),
    )
    return Pod(Key(metadata["namespace"], _deployment_of(metadata)), _parent(metadata), fact)


def _group_index(metadata: Mapping[str, Any]) -> int | None:
    index = (metadata.get("labels") or {}).get(LABEL_WORKER_INDEX, "")
    return int(index) if index.isdecimal() else None


def pool_of(metadata: Mapping[str, Any]) -> str:
    """Name of the Deployment that the pool of a LeaderWorkerSet, or of a pod of one, would else have; empty if none."""
    labels = metadata.get("labels") or {}
    model, region, pool = (labels.get(name, "") for name in (LABEL_MODEL_DEPLOYMENT, LABEL_REGION, LABEL_POOL))
    return pool_name(model, region, pool) if model and region and pool else ""


def _deployment_of(metadata: Mapping[str, Any]) -> str:
    """A Deployment's pods belong to the ReplicaSet `<deployment>-<pod-template-hash>`."""
    if _group_index(metadata) is not None:
        return pool_of(metadata)
    suffix = f"-{(metadata.get('labels') or {}).get('pod-template-hash', '')}"
    for owner in metadata.get("ownerReferences", ()):
        if owner["kind"] == "ReplicaSet" and owner["name"].endswith(suffix):
            return str(owner["name"].removesuffix(suffix))
    return ""


def _child(item: Object, fact: F, pool: str = "") -> Child[F]:
    metadata = item["metadata"]
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")]
    applied = applied_fields(item, MANAGER)
    fields = orjson.dumps(applied).decode() if applied else ""
    return Child(
        uid=metadata["uid"],
        owner_uid=sys.intern(owners[0]) if owners else "",
        parent=_parent(metadata),
        deleting="deletionTimestamp" in metadata,
        hash=(metadata.get("annotations") or {}).get(HASH_ANNOTATION, ""),
        # But for the owner they are the same in all objects of a kind, and there is one string for them all.
        fields=sys.intern(fields.replace(owners[0], _OWNER) if owners else fields),
        fact=fact,
        pool=pool,
    )


def _parent(metadata: Mapping[str, Any]) -> Parent:
    labels = metadata.get("labels") or {}
    region, model = labels.get(LABEL_REGION, ""), labels.get(LABEL_MODEL_DEPLOYMENT, "")
    if labels.get(LABEL_COMPONENT) == COMPONENT_GATEWAY or not model:
        return Parent(region)
    return _parent_of(region, metadata.get("namespace", ""), model)


@lru_cache(maxsize=1024)
def _parent_of(region: str, namespace: str, model: str) -> Parent:
    # One for all that a model has in a region.
    return Parent(region, Key(namespace, model))


def applied_template(item: Object, field: str = "template") -> str:
    """The field of the spec with the template of pods, as JSON, without what others have added; empty if not ours."""
    template = applied_fields(item, MANAGER).get("f:spec", {}).get(f"f:{field}")
    return orjson.dumps(owned(template, item["spec"][field])).decode() if template else ""


def _revision(metadata: Mapping[str, Any]) -> str:
    return str((metadata.get("labels") or {}).get(LABEL_REVISION, ""))


def _surges(strategy: Mapping[str, Any]) -> bool:
    return strategy.get("rollingUpdate", {}).get("maxSurge", 0) not in (0, "0%")


def parsed_fields(value: Child[Any]) -> Mapping[str, Any]:
    """`value.fields` as a mapping."""
    found: Mapping[str, Any] = orjson.loads(value.fields.replace(_OWNER, value.owner_uid)) if value.fields else {}
    return found
