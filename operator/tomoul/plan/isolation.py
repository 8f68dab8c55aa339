"""Isolation: a prompt cache is off where its engine cannot keep apart what it must: several tenants, or adapters."""

from tomoul.api.cache import CacheMode
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.routingtable import GatewayAuth
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.settings import Settings


def isolated(model: ModelDeployment, settings: Settings) -> ModelDeployment:
    """The model as it is run: without a cache where `mode: Tenant` promises what its engine cannot keep, or where
    adapters would answer from each other's.

    Without authentication all callers are one tenant, and there is nothing to keep apart.
    """
    spec = model.spec
    if mixes(spec):
        return _uncached(model)
    if settings.gateway_auth is GatewayAuth.NONE or spec.cache.mode is not CacheMode.TENANT or not shares(spec):
        return model
    return _uncached(model)


def mixes(spec: ModelDeploymentSpec) -> bool:
    """Whether a cache would answer calls to an adapter, or to the model, from another's."""
    return bool(spec.adapters) and engine_of(spec).mixes_adapters


def shares(spec: ModelDeploymentSpec) -> bool:
    """Whether the engine, if it has a cache, lets all calls share it."""
    cache = spec.cache.model_copy(update={"mode": CacheMode.TENANT})
    return engine_of(spec).prompt_cache(spec.model_copy(update={"cache": cache}), "default") == "shared"


def _uncached(model: ModelDeployment) -> ModelDeployment:
    cache = model.spec.cache.model_copy(update={"mode": CacheMode.DISABLED})
    return model.model_copy(update={"spec": model.spec.model_copy(update={"cache": cache})})
