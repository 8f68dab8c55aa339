"""Cache policy: whether `spec.cache` is kept in a region, by the engine and in every pod that there is."""

from collections.abc import Mapping

from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.conditions import Reason
from tomoul.api.enginetype import EngineType
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import GatewayAuth, PoolName, RouteCache
from tomoul.plan.engines.registry import engine_of, judged_version
from tomoul.plan.isolation import mixes, shares
from tomoul.plan.judge import Rollout, Verdict
from tomoul.plan.naming import pool_name
from tomoul.plan.optout import takes_no_store
from tomoul.plan.promptcache import mixed, unkept, wanted_cache
from tomoul.plan.scaling import may_be_empty, sleeps_on
from tomoul.plan.world import Key, World


def judged_cache(world: World, model: ModelDeployment, region: str, rollouts: Mapping[PoolName, Rollout]) -> Verdict:
    """`CachePolicyEnforced` of a model that is accepted in `region`, where it has these pools."""
    promise = engine_of(model.spec).cache_promise(model.spec)
    if not promise.kept:
        return Verdict("False", promise.reason, promise.message)
    key = Key(model.metadata.namespace, model.metadata.name)
    others = unkept(world, key, region, wanted_cache(model))
    if others and takes_no_store(world, model, region):
        pool = pool_name(key.name, region, "no-store")
        return Verdict("False", Reason.ROLLOUT_IN_PROGRESS, f"`no-store` calls go to `{pool}` until then: {others}")
    if others:
        return Verdict("False", Reason.ROLLOUT_IN_PROGRESS, f"`no-store` calls are refused: {others}")
    if shared := mixed(world, key, region, wanted_cache(model)):
        return Verdict(
            "False", Reason.ROLLOUT_IN_PROGRESS, f"Tenants share a cache until the rollout is over: {shared}"
        )
    for pool, rollout in rollouts.items():
        if pool == "no-store" and rollout.ready == 0:
            asleep = rollout.wanted == 0 and may_be_empty(model.spec, region, pool)
            if asleep and not sleeps_on(world, Key(key.namespace, rollout.name), region):
                return Verdict("True", promise.reason, f"{promise.message}; the next `no-store` call starts a replica")
            message = f"`no-store` calls get 503: no replica of `{rollout.name}` is ready"
            return Verdict("False", Reason.NO_STORE_POOL_EMPTY, message)
    disabled = model.spec.cache.mode is CacheMode.DISABLED
    if mixes(model.spec):
        why = f"{model.spec.engine.type} would answer one adapter's calls from another's cache"
        return Verdict("True", promise.reason, f"{promise.message}: {why}")
    if disabled and world.settings.gateway_auth is GatewayAuth.REQUIRED and shares(model.spec):
        why = f"{model.spec.engine.type} cannot keep tenants apart in a cache"
        if engine_of(model.spec).default_version:
            known = judged_version(model.spec)
            which = "this version" if known is not None else "an image whose tag names no version"
            why = f"{why} with {which}; see `spec.engine.version`"
        elif model.spec.engine.type is EngineType.CUSTOM:
            why = (
                f"{why} that `spec.engine.custom.promptCache` says all calls share; if it has a salt say Salted, "
                "and if tenants may share it use `spec.cache.mode: Shared`"
            )
        return Verdict("True", promise.reason, f"{promise.message}: {why}")
    return Verdict("True", promise.reason, promise.message)


def kept_cache(cache: RouteCache, rollouts: Mapping[PoolName, Rollout]) -> Verdict:
    """`CachePolicyEnforced` of a model that is refused, which goes on with `cache` and these pools as they are."""
    second = rollouts.get("no-store")
    own_pool = cache.no_store is NoStore.NOT_STORED and cache.mode is not CacheMode.DISABLED
    if own_pool and (second is None or second.ready == 0):
        message = "`no-store` calls get 503: no replica of the pool without a cache is ready"
        return Verdict("False", Reason.NO_STORE_POOL_EMPTY, message)
    words = "are refused" if cache.no_store is NoStore.REFUSE else "get what they got before"
    return Verdict("True", Reason.ENFORCED, f"`no-store` calls {words}")
