"""Adapters: LoRA weights that an engine serves beside its model, each under an id of its own.

A call says by fields of its body which one it means, and an engine may take one that it does not have for none: an
adapter is routed in a region only while every pod there has it under just these fields.
"""

import json
from collections.abc import Mapping
from typing import Any

from tomoul.api.adapter import Adapter
from tomoul.api.conditions import Reason
from tomoul.api.meta import ANNOTATION_ADAPTERS
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.routingtable import PoolName, SetField
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.judge import Verdict
from tomoul.plan.podfact import PodFact
from tomoul.plan.poolpods import pods_answering
from tomoul.plan.world import Key, World

_POOLS: tuple[PoolName, ...] = ("default", "no-store")


def adapter_named(spec: ModelDeploymentSpec, model_id: str) -> Adapter | None:
    """The adapter with this id, or None."""
    return next((adapter for adapter in spec.adapters if adapter.id == model_id), None)


def set_fields(spec: ModelDeploymentSpec, adapter: Adapter) -> tuple[SetField, ...]:
    """What the gateway writes into the bodies of an adapter's calls."""
    fields = engine_of(spec).adapter_fields(spec, spec.adapters.index(adapter))
    return tuple(SetField(name=name, value=_json(value)) for name, value in sorted(fields.items()))


def adapters_annotation(spec: ModelDeploymentSpec) -> dict[str, str]:
    """The annotation that tells of pods which adapters they have, and under which fields; none without adapters."""
    if not spec.adapters:
        return {}
    engine = engine_of(spec)
    told = {adapter.id: engine.adapter_fields(spec, index) for index, adapter in enumerate(spec.adapters)}
    return {ANNOTATION_ADAPTERS: _json(told)}


def is_loaded(world: World, key: Key, region: str, adapter: Adapter) -> bool:
    """Whether no pod of a model in `region` lacks an adapter, or has it under other fields."""
    return not _lacking(world, key, region, adapter)


def judged_adapters(world: World, model: ModelDeployment, region: str) -> Verdict | None:
    """Whether all adapters of a model can be called in a region; None if it has none."""
    if not model.spec.adapters:
        return None
    key = Key(model.metadata.namespace, model.metadata.name)
    words = [
        f"`{adapter.id}` is not routed: {lacking} pods do not have it yet"
        for adapter in model.spec.adapters
        if (lacking := _lacking(world, key, region, adapter))
    ]
    if words:
        return Verdict("False", Reason.ROLLOUT_IN_PROGRESS, "; ".join(words))
    return Verdict("True", Reason.ALL_ADAPTERS_LOADED)


def _lacking(world: World, key: Key, region: str, adapter: Adapter) -> int:
    model = world.models[key]
    wanted = engine_of(model.spec).adapter_fields(model.spec, model.spec.adapters.index(adapter))
    pods = [pod for pool in _POOLS for pod in pods_answering(world, key, region, pool)]
    return sum(_told(pod).get(adapter.id) != wanted for pod in pods)


def _told(pod: PodFact) -> Mapping[str, Any]:
    try:
        told = json.loads(pod.adapters or "{}")
    except ValueError:
        return {}  # somebody else's
    return told if isinstance(told, dict) else {}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
