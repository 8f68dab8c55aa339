"""Reconcile a ModelDeployment: its workloads in the regions hosted here, and its status."""

from tomoul.api.conditions import ConditionType
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.rollout import RolloutPhase
from tomoul.controller.canary_watch import Tried
from tomoul.controller.context import Context
from tomoul.controller.converge import TOLD_AFTER, LateError, NotYetError, Refused, converge, is_told
from tomoul.controller.declared import spec_of
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.presence import may_have
from tomoul.controller.status import refused_model, write_going, write_invalid, write_status
from tomoul.kube.resources import LEADER_WORKER_SETS, MODEL_DEPLOYMENTS
from tomoul.plan.going import going_model
from tomoul.plan.model import plan_model
from tomoul.plan.multinode import LWS_API, is_multinode
from tomoul.plan.world import Key


async def reconcile_model(context: Context, key: Key) -> None:
    """Bring the cluster to what the ModelDeployment says; what one that is going owns is left to Kubernetes."""
    found = context.observed.models.get(key)
    if found is None or found.deleting:
        context.canaries.follow(key, {})
        context.downloads.follow(key, {})
        context.patience.forget(key)
        if found is not None:
            await write_going(context, MODEL_DEPLOYMENTS, key, found, going_model)
        return
    if found.resource is None:
        await write_invalid(context, MODEL_DEPLOYMENTS, key, found)
        return
    if Key("", key.namespace) not in context.observed.namespaces:
        # Its label may forbid a region, and what was started there for a moment was there.
        raise NotYetError(f"namespace {key.namespace} is not known yet")
    if is_multinode(found.resource.spec) and not _knows_groups(context):
        await _tell_unlisted(context, key, found.uid, found.resource)
        raise NotYetError("it is not known yet which LeaderWorkerSets there are")
    plan = plan_model(context.observed.world(), key, context.observed.claims())
    if not await may_have(context, MODEL_DEPLOYMENTS, key, found, plan.objects):
        return
    status, wrote = plan.status, True
    trouble: Refused | LateError | None = None
    try:
        wrote = await converge(
            context.observed, context.writer, found.uid, plan.objects, plan.keep, plan.still_serving, planned=True
        )
    except (Refused, LateError) as error:
        if isinstance(error, Refused) and not is_told(error.passing, context.attempts(WorkKey(Kind.MODEL, *key))):
            raise
        trouble = error
    # The answers to what was applied are known by now: a new revision must not be judged by its predecessor's pods.
    latest = context.observed.models.get(key)
    if wrote and latest is not None and spec_of(latest) == spec_of(found):
        # Why a rollout goes as it does was known only before it began.
        status = plan_model(context.observed.world(), key, context.observed.claims(), status).status
    if isinstance(trouble, Refused):
        status = refused_model(found.resource, status, trouble.by_region)
    before = found.resource.status
    wait = (
        0.0 if isinstance(trouble, Refused) else context.patience.left(key, before, status, context.triggers.patience)
    )
    if wait:
        context.triggers.later(key, wait)
        now = before
    else:
        now = await write_status(context, MODEL_DEPLOYMENTS, key, found.uid, before, status)
    for region in sorted(_ready_in(before) ^ _ready_in(now)):
        context.triggers.figures(region)
    context.canaries.follow(key, _tried(key, found.resource, now))
    context.downloads.follow(key, _loading(context, key, now))
    # What was decided is acted upon once it is written.
    if decided := {row[0] for row in _trials(before) ^ _trials(now)}:
        context.triggers.tried(key, sorted(decided))
    if trouble is not None:
        raise trouble


def _knows_groups(context: Context) -> bool:
    """Whether all LeaderWorkerSets are known, or their kind is not there."""
    installed = LWS_API in context.observed.world().facts.apis
    return not installed or context.observed.is_listed(LEADER_WORKER_SETS)


async def _tell_unlisted(context: Context, key: Key, uid: str, model: ModelDeployment) -> None:
    """Say of a model whose LeaderWorkerSets cannot be listed that nothing is made or changed until they can be."""
    why = context.observed.leader_worker_sets.unlisted
    if not why or context.attempts(WorkKey(Kind.MODEL, *key)) < TOLD_AFTER:
        return
    # What is planned without them is right only for a model that never ran.
    status = model.status
    if not status.regions:
        status = plan_model(context.observed.world(), key, context.observed.claims()).status
    words = f"LeaderWorkerSets cannot be listed, so that nothing is made or changed: {why}"
    told = refused_model(model, status, {row.name: words for row in status.regions})
    await write_status(context, MODEL_DEPLOYMENTS, key, uid, model.status, told)


def _ready_in(status: ModelDeploymentStatus) -> set[str]:
    """Regions in which the model is Ready."""
    return {
        row.name
        for row in status.regions
        if any(entry.type == ConditionType.READY and entry.status == "True" for entry in row.conditions)
    }


def _trials(status: ModelDeploymentStatus) -> set[tuple[str, str, str]]:
    """Region, phase and verdict of each canary."""
    return {
        (row.name, row.rollout.phase, row.rollout.canary.verdict)
        for row in status.regions
        if row.rollout is not None and row.rollout.canary is not None
    }


def _loading(context: Context, key: Key, status: ModelDeploymentStatus) -> dict[Key, str]:
    """Addresses of the pods whose loaders run."""
    names = {pool.deployment for row in status.regions for pool in row.pools}
    trials = [row.rollout.canary for row in status.regions if row.rollout is not None]
    names |= {canary.deployment for canary in trials if canary is not None}
    pods = context.observed.world().facts.pods
    return {
        Key(key.namespace, pod.name): pod.address
        for name in names
        for pod in pods.get(Key(key.namespace, name), ())
        if pod.loading and pod.address
    }


def _tried(key: Key, model: ModelDeployment, status: ModelDeploymentStatus) -> dict[Key, Tried]:
    """The canaries that take calls, by their Deployments."""
    ids = (model.spec.model.id, *(adapter.id for adapter in model.spec.adapters))
    return {
        Key(key.namespace, row.rollout.canary.deployment): Tried(
            row.name, ids, row.rollout.revision, row.rollout.canary.ready
        )
        for row in status.regions
        if row.rollout is not None and row.rollout.canary is not None and row.rollout.phase == RolloutPhase.CANARY
    }
