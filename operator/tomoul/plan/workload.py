"""Workload: the objects that run a ModelDeployment in one region."""

from typing import Any

from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec, region_target
from tomoul.api.region import Region
from tomoul.api.rollout import RolloutStrategy
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines.base import PORT
from tomoul.plan.groups import group_set
from tomoul.plan.labels import engine_labels, engine_selector, object_meta, replica_selector
from tomoul.plan.multinode import is_multinode
from tomoul.plan.naming import group_set_name, pool_name, workers_name, workload_name
from tomoul.plan.network import engine_policy, worker_policy
from tomoul.plan.revision import is_group
from tomoul.plan.rollout import CANARY, PoolRollout, RegionRollout
from tomoul.plan.settings import Settings
from tomoul.plan.strategy import NOTHING_TO_REPLACE
from tomoul.plan.weights import all_download_ports
from tomoul.plan.world import Manifest

POOLS: tuple[PoolName, ...] = ("default", "no-store")
"""All pools that a model can have, a canary's apart."""


def pools(spec: ModelDeploymentSpec) -> tuple[PoolName, ...]:
    """Pools of the model in each of its regions; without a cache one pool keeps every promise."""
    second = spec.cache.no_store is NoStore.NOT_STORED and spec.cache.mode is not CacheMode.DISABLED
    return POOLS if second else ("default",)


def wanted_replicas(spec: ModelDeploymentSpec, region: str, pool: PoolName) -> int | None:
    """Replicas that the spec asks for in a pool, or None where an autoscaler decides."""
    target = region_target(spec, region)
    assert target is not None, f"the model does not name region {region}"
    if pool == "default":
        return target.replicas
    if target.no_store_scaling is not None:
        return None
    return 1 if target.no_store_replicas is None else target.no_store_replicas


def workload(
    model: ModelDeployment, region: Region, settings: Settings, rollout: RegionRollout, *, groups: bool
) -> tuple[Manifest, ...]:
    """The objects of a ModelDeployment in a region: those of each pool, and those that the pools share.

    `groups`: whether replicas are several pods, or some that there are still.
    """
    objects = [_service_account(model, region, settings), _network_policy(model, region, settings, groups=groups)]
    if groups:
        objects.append(_workers_policy(model, region, settings))
    for pool in pools(model.spec):
        objects += [
            _replicas(model, region, pool, rollout.pools[pool]),
            _service(model, region, pool),
            _disruption_budget(model, region, pool),
        ]
    if rollout.canary is not None:
        trial = PoolRollout(rollout.canary, NOTHING_TO_REPLACE)
        objects += [_replicas(model, region, CANARY, trial), _service(model, region, CANARY)]
    return tuple(objects)


def _replicas(model: ModelDeployment, region: Region, pool: PoolName, rollout: PoolRollout) -> Manifest:
    """What keeps the pool's replicas: a Deployment of pods, or a LeaderWorkerSet of groups of them."""
    surge = rollout.choice.strategy is RolloutStrategy.SURGE
    limits = {"maxSurge": 1, "maxUnavailable": 0} if surge else {"maxSurge": 0, "maxUnavailable": 1}
    meta = _pool_meta(model, region, pool)
    if is_group(rollout.template):
        name = group_set_name(model.metadata.name, region.metadata.name, pool)
        made = group_set({**meta, "name": name}, rollout.template, limits)
    else:
        spec: dict[str, Any] = {
            "selector": {"matchLabels": engine_selector(model.metadata.name, region.metadata.name, pool)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": limits},
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": model.spec.rollout.deadline_seconds,
            "template": rollout.template,
        }
        made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
    replicas = 1 if pool == CANARY else wanted_replicas(model.spec, region.metadata.name, pool)
    if replicas is not None:
        made["spec"]["replicas"] = replicas
    return made


def _service(model: ModelDeployment, region: Region, pool: PoolName) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _pool_meta(model, region, pool),
        "spec": {
            "clusterIP": "None",
            "selector": engine_selector(model.metadata.name, region.metadata.name, pool),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _disruption_budget(model: ModelDeployment, region: Region, pool: PoolName) -> Manifest:
    selector = engine_selector(model.metadata.name, region.metadata.name, pool)
    if is_multinode(model.spec):
        # With any pod of a group its replica goes: while one is made anew, no other is given up.
        selector = replica_selector(model.metadata.name, region.metadata.name, pool)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _pool_meta(model, region, pool),
        "spec": {
            "maxUnavailable": 1,
            # A pod that is not ready serves nobody: it must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector},
        },
    }


def _service_account(model: ModelDeployment, region: Region, settings: Settings) -> Manifest:
    account: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _region_meta(model, region),
        "automountServiceAccountToken": False,
    }
    # Kubernetes hands them to each new pod. One that the namespace lacks is passed over: the image may be public.
    if settings.image_pull_secrets:
        account["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return account


def _network_policy(model: ModelDeployment, region: Region, settings: Settings, *, groups: bool) -> Manifest:
    selector = engine_selector(model.metadata.name, region.metadata.name)
    together = replica_selector(model.metadata.name, region.metadata.name) if groups else None
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _region_meta(model, region),
        "spec": engine_policy(selector, region.metadata.name, all_download_ports(model.spec), settings, together),
    }


def _workers_policy(model: ModelDeployment, region: Region, settings: Settings) -> Manifest:
    name = model.metadata.name, region.metadata.name
    together = replica_selector(*name)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {**_region_meta(model, region), "name": workers_name(*name)},
        "spec": worker_policy(together, all_download_ports(model.spec), settings),
    }


def _pool_meta(model: ModelDeployment, region: Region, pool: PoolName) -> dict[str, Any]:
    name = pool_name(model.metadata.name, region.metadata.name, pool)
    labels = engine_labels(model.metadata.name, region.metadata.name, pool)
    return object_meta(name, labels, model, model.metadata.namespace)


def _region_meta(model: ModelDeployment, region: Region) -> dict[str, Any]:
    name = workload_name(model.metadata.name, region.metadata.name)
    labels = engine_labels(model.metadata.name, region.metadata.name)
    return object_meta(name, labels, model, model.metadata.namespace)
