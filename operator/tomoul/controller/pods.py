"""Pods: what is kept of the pods of engines and gateways."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tomoul.api.meta import (
    ANNOTATION_ADAPTERS,
    LABEL_MODEL_DEPLOYMENT,
    LABEL_POOL,
    LABEL_PROMPT_CACHE,
    LABEL_REGION,
    LABEL_REVISION,
)
from tomoul.controller.children import Parent, parent_of
from tomoul.controller.containers import containers, time_of
from tomoul.kube.client import Object
from tomoul.plan.multinode import LABEL_WORKER_INDEX
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.quantity import amounts
from tomoul.plan.world import Key


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of an engine or a gateway."""

    deployment: Key
    parent: Parent
    fact: PodFact


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
        gates=tuple(gate["name"] for gate in spec.get("schedulingGates", ())),
        containers=containers(status),
        created=time_of(metadata.get("creationTimestamp")),
        readiness_changed=time_of(conditions.get("Ready", {}).get("lastTransitionTime")),
        failed_at=time_of(conditions.get("DisruptionTarget", {}).get("lastTransitionTime") or status.get("startTime")),
        failed_reason=status.get("reason", "") if status.get("phase") == "Failed" else "",
        failed_message=status.get("message", "") if status.get("phase") == "Failed" else "",
        requests=requests,
        adapters=(metadata.get("annotations") or {}).get(ANNOTATION_ADAPTERS, ""),
        prompt_cache=(metadata.get("labels") or {}).get(LABEL_PROMPT_CACHE, ""),
        revision=revision_label(metadata),
        address=status.get("podIP", ""),
        group_index=_group_index(metadata),
    )
    return Pod(Key(metadata["namespace"], _deployment_of(metadata)), parent_of(metadata), fact)


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


def revision_label(metadata: Mapping[str, Any]) -> str:
    """The revision of a pod, or of the pods of a template; empty if it has none."""
    return str((metadata.get("labels") or {}).get(LABEL_REVISION, ""))
