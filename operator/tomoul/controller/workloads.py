"""Workloads: what is kept of Deployments and LeaderWorkerSets, and of what scales them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tomoul.controller.children import MANAGER, Child, child_of
from tomoul.controller.fields import applied_fields, owned
from tomoul.controller.pods import pool_of, revision_label
from tomoul.kube.client import Object
from tomoul.plan.promptcache import cache_of
from tomoul.plan.revision import revision_of
from tomoul.plan.world import AutoscalerFact, DeploymentFact

_POD_NAME = re.compile(r'^pods "[^"]*" is ')


def deployment(item: Object) -> Child[DeploymentFact]:
    """A Deployment."""
    status = item.get("status", {})
    generation, observed = item["metadata"].get("generation", 0), status.get("observedGeneration", 0)
    template = applied_template(item)
    fact = DeploymentFact(
        generation=generation,
        observed_generation=observed,
        replicas=item["spec"].get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        total=status.get("replicas", 0),
        revision=revision_label(item["spec"].get("template", {}).get("metadata", {})),
        surge=_surges(item["spec"].get("strategy", {})),
        refused=_refused(status.get("conditions", ())),
        paused=bool(item["spec"].get("paused")),
        # Until Kubernetes has looked at a new revision it speaks of the one before.
        overdue=observed >= generation
        and any(
            entry["type"] == "Progressing" and entry.get("reason") == "ProgressDeadlineExceeded"
            for entry in status.get("conditions", ())
        ),
        template=template,
        prompt_cache=_prompt_cache(template),
    )
    return child_of(item, fact)


def leader_worker_set(item: Object) -> Child[DeploymentFact]:
    """A LeaderWorkerSet; its status counts groups. It knows no deadline."""
    spec, status = item["spec"], item.get("status") or {}
    groups = spec.get("leaderWorkerTemplate", {})
    generation = item["metadata"].get("generation", 0)
    template = applied_template(item, "leaderWorkerTemplate")
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
        template=template,
        prompt_cache=_prompt_cache(template),
    )
    return child_of(item, fact, pool_of(item["metadata"]))


def autoscaler(item: Object) -> Child[AutoscalerFact]:
    """A HorizontalPodAutoscaler."""
    found = {entry["type"]: entry for entry in item.get("status", {}).get("conditions", ())}
    active, limited = found.get("ScalingActive", {}), found.get("ScalingLimited", {})
    if found.get("AbleToScale", {}).get("status") == "False":
        active = found["AbleToScale"]  # whatever figures it has had, it cannot act on them
    fact = AutoscalerFact(
        kind=item["kind"],
        active=active.get("status", "Unknown"),
        message=active.get("message", "") if active.get("status") == "False" else "",
        at_maximum=limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas",
    )
    return child_of(item, fact)


def scaled_object(item: Object) -> Child[AutoscalerFact]:
    """KEDA's ScaledObject."""
    found = {entry["type"]: entry for entry in item.get("status", {}).get("conditions", ())}
    ready = found.get("Ready", {})
    message = ready.get("message", "") if ready.get("status") == "False" else ""
    return child_of(item, AutoscalerFact(kind=item["kind"], active=ready.get("status", "Unknown"), message=message))


def applied_template(item: Object, field: str = "template") -> str:
    """The field of the spec with the template of pods, as JSON, without what others have added; empty if not ours."""
    template = applied_fields(item, MANAGER).get("f:spec", {}).get(f"f:{field}")
    return orjson.dumps(owned(template, item["spec"][field])).decode() if template else ""


def _prompt_cache(template: str) -> str:
    return cache_of(orjson.loads(template)) if template else ""


def _refused(conditions: Sequence[Mapping[str, Any]]) -> str:
    failed = (each for each in conditions if each["type"] == "ReplicaFailure" and each["status"] == "True")
    # Each attempt is for a pod of another name.
    return next((_POD_NAME.sub("", each.get("message", "")) for each in failed), "")


def _surges(strategy: Mapping[str, Any]) -> bool:
    return strategy.get("rollingUpdate", {}).get("maxSurge", 0) not in (0, "0%")
