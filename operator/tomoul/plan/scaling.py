"""Scaling: the autoscaler of each pool whose spec has `scaling`, and what can be said of it.

It is a HorizontalPodAutoscaler, or KEDA's ScaledObject where KEDA is installed: KEDA then answers
`external.metrics.k8s.io` for the whole cluster, so that a plain HorizontalPodAutoscaler would get no figures there.
Both go by one figure, the pool's calls in flight, which the operator adds up over the gateways. It does not depend on
how many replicas there are, so that engines that take minutes to start do not make it call for more and more.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec, region_target
from tomoul.api.region import Region
from tomoul.api.routingtable import PoolName
from tomoul.api.scaling import Scaling
from tomoul.plan.judge import Rollout, Verdict
from tomoul.plan.labels import engine_labels, object_meta
from tomoul.plan.multinode import LWS_API_VERSION, is_multinode
from tomoul.plan.naming import group_set_name, pool_name
from tomoul.plan.settings import Settings
from tomoul.plan.workload import pools
from tomoul.plan.world import AutoscalerFact, Facts, Key, Manifest, World

METRIC = "tomoul_requests_in_flight"
"""External metric by which HorizontalPodAutoscalers scale."""
METRIC_LABEL = "deployment"
"""Its label: the Deployment whose pool's calls are counted. Prometheus allows the name too, for adapters."""
EXTERNAL_METRICS_API = "v1beta1.external.metrics.k8s.io"
KEDA_API = "v1alpha1.keda.sh"
METRICS_SERVICE = "tomoul-operator-metrics"
METRICS_SERVICE_PORT = 9090
KEDA_POLL_SECONDS = 15
"""As often as a HorizontalPodAutoscaler looks."""


class ScaledPool(NamedTuple):
    """One pool that scales."""

    key: Key
    """Of its Deployment, or the one that it would have if its replicas were single pods."""
    region: str
    model_id: str
    pool: PoolName
    scaling: Scaling
    group_set: Key | None = None
    """Its LeaderWorkerSet, which has its replicas if these are groups of pods."""
    canary: Key | None = None
    """The Deployment of its canary, which takes a share of its calls while a revision is tried."""


def scaling_of(spec: ModelDeploymentSpec, region: str, pool: PoolName) -> Scaling | None:
    """How a pool of the model scales in a region, or None if it does not."""
    target = region_target(spec, region)
    assert target is not None, f"the model does not name region {region}"
    return target.scaling if pool == "default" else target.no_store_scaling


def scaled_pools(world: World) -> Iterator[ScaledPool]:
    """All pools that scale in regions hosted here."""
    for key, model in world.models.items():
        for target in model.spec.regions:
            if (target.scaling or target.no_store_scaling) and world.settings.hosts(target.name):
                yield from _pools_of(model, key, target.name)


def has_keda(facts: Facts) -> bool:
    """Whether KEDA is installed."""
    return KEDA_API in facts.apis


def autoscalers(model: ModelDeployment, region: Region, world: World) -> tuple[Manifest, ...]:
    """The autoscalers of a ModelDeployment's pools in a region."""
    make = _scaled_object if has_keda(world.facts) else _horizontal_pod_autoscaler
    found = []
    for pool in pools(model.spec):
        scaling = scaling_of(model.spec, region.metadata.name, pool)
        if scaling is not None:
            name = pool_name(model.metadata.name, region.metadata.name, pool)
            labels = engine_labels(model.metadata.name, region.metadata.name, pool)
            meta = object_meta(name, labels, model, model.metadata.namespace)
            found.append(make(meta, scaling, scale_target(model, region.metadata.name, pool), world.settings))
    return tuple(found)


def scale_target(model: ModelDeployment, region: str, pool: PoolName) -> dict[str, str]:
    """What has the replicas of a pool, as autoscalers name it; both kinds have the subresource `scale`."""
    name = model.metadata.name
    if is_multinode(model.spec):
        made = group_set_name(name, region, pool)
        return {"apiVersion": LWS_API_VERSION, "kind": "LeaderWorkerSet", "name": made}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": pool_name(name, region, pool)}


def judged_scaling(
    world: World, model: ModelDeployment, region: str, rollouts: Mapping[PoolName, Rollout]
) -> Verdict | None:
    """Whether the pools of a model in a region are scaled by figures; None if none of them scales."""
    verdicts = [
        _judged_pool(world, Key(model.metadata.namespace, rollout.name), region, rollout, scaling)
        for pool, rollout in rollouts.items()
        if (scaling := scaling_of(model.spec, region, pool)) is not None
    ]
    if not verdicts:
        return None
    worst = min(verdicts, key=lambda verdict: ("False", "Unknown", "True").index(verdict.status))
    return worst._replace(message="; ".join(each.message for each in verdicts if each.status == worst.status))


def may_be_empty(spec: ModelDeploymentSpec, region: str, pool: PoolName) -> bool:
    """Whether a pool may have no replicas while nobody calls."""
    scaling = scaling_of(spec, region, pool)
    return scaling is not None and scaling.min_replicas == 0


def sleeps_on(world: World, pool: Key, region: str) -> str:
    """Why no call starts a replica of a pool in `region` that has none; empty where one does.

    Without KEDA it is the operator that looks for calls: a HorizontalPodAutoscaler has no figures of such a pool.
    """
    if has_keda(world.facts):
        fact = world.facts.autoscalers.get(pool)
        return _words(fact) if fact is not None and fact.active == "False" else ""
    silent = world.facts.silent_gateways.get(region)
    return f"gateway `{silent}` does not tell its calls, at its metrics port" if silent is not None else ""


def _pools_of(model: ModelDeployment, key: Key, region: str) -> Iterator[ScaledPool]:
    for pool in pools(model.spec):
        if (scaling := scaling_of(model.spec, region, pool)) is not None:
            name = pool_name(key.name, region, pool)
            groups = Key(key.namespace, group_set_name(key.name, region, pool)) if is_multinode(model.spec) else None
            tried = pool == "default" and model.spec.rollout.canary is not None
            canary = Key(key.namespace, pool_name(key.name, region, "canary")) if tried else None
            yield ScaledPool(Key(key.namespace, name), region, model.spec.model.id, pool, scaling, groups, canary)


def _horizontal_pod_autoscaler(
    meta: Mapping[str, Any], scaling: Scaling, of: Mapping[str, str], settings: Settings
) -> Manifest:
    metric = {"name": METRIC, "selector": {"matchLabels": {METRIC_LABEL: meta["name"]}}}
    target = {"type": "AverageValue", "averageValue": str(scaling.target_in_flight)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta,
        "spec": {
            "scaleTargetRef": dict(of),
            # It leaves a Deployment with no replicas alone: between 0 and 1 it is the operator that decides.
            "minReplicas": max(scaling.min_replicas, 1),
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "External", "external": {"metric": metric, "target": target}}],
            "behavior": _behavior(scaling),
        },
    }


def _scaled_object(meta: Mapping[str, Any], scaling: Scaling, of: Mapping[str, str], settings: Settings) -> Manifest:
    host = f"{METRICS_SERVICE}.{settings.namespace}.svc:{METRICS_SERVICE_PORT}"
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": meta,
        "spec": {
            "scaleTargetRef": dict(of),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "pollingInterval": KEDA_POLL_SECONDS,
            "cooldownPeriod": scaling.scale_down_seconds,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaling)}},
            "triggers": [
                {
                    "type": "metrics-api",
                    "metricType": "AverageValue",
                    "metadata": {
                        "url": f"http://{host}/scaling/{meta['namespace']}/{meta['name']}",
                        "valueLocation": "requestsInFlight",
                        "targetValue": str(scaling.target_in_flight),
                    },
                }
            ],
        },
    }


def _behavior(scaling: Scaling) -> dict[str, Any]:
    return {"scaleDown": {"stabilizationWindowSeconds": scaling.scale_down_seconds}}


def _judged_pool(world: World, key: Key, region: str, rollout: Rollout, scaling: Scaling) -> Verdict:
    stays = f"`{rollout.name}` stays at {rollout.wanted} of {scaling.min_replicas} to {scaling.max_replicas} replicas"
    fact = world.facts.autoscalers.get(key)
    if not has_keda(world.facts) and world.facts.apis and EXTERNAL_METRICS_API not in world.facts.apis:
        message = f"{stays}: nothing serves `external.metrics.k8s.io`; see docs/scaling.md"
        return Verdict("False", Reason.AUTOSCALER_MISSING, message)
    if rollout.wanted == 0 and scaling.min_replicas == 0:
        if why := sleeps_on(world, key, region):
            return Verdict("False", Reason.METRICS_UNAVAILABLE, f"{stays}: {why}")
        return Verdict("True", Reason.SCALED_TO_ZERO, f"`{rollout.name}` has no replica until it is called")
    if fact is None or fact.active == "Unknown":
        return Verdict("Unknown", Reason.WAITING_FOR_AUTOSCALER, f"{stays}: its autoscaler has not looked at it yet")
    if fact.active == "False":
        return Verdict("False", Reason.METRICS_UNAVAILABLE, f"{stays}: {_words(fact)}")
    limit = ", and its calls ask for more" if fact.at_maximum else ""
    words = f"`{rollout.name}` has {rollout.wanted} of {scaling.min_replicas} to {scaling.max_replicas} replicas{limit}"
    return Verdict("True", Reason.SCALING_ACTIVE, words)


def _words(fact: AutoscalerFact) -> str:
    return f"its {fact.kind} says: {fact.message}" if fact.message else f"its {fact.kind} does not say why"
