"""Prompt caches: whether the pods that exist are those that a promise to `no-store` callers rests on."""

from collections.abc import Collection

from tomoul.api.cache import CacheMode, CachePolicyStatus, NoStore
from tomoul.api.meta import LABEL_PROMPT_CACHE
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.routingtable import GatewayAuth, PoolName, RouteCache
from tomoul.plan.engines.base import PromptCache
from tomoul.plan.engines.registry import engine_of, judged_version
from tomoul.plan.naming import pool_name
from tomoul.plan.poolpods import pods_answering
from tomoul.plan.revision import serving_pod
from tomoul.plan.world import Key, Manifest, World

_NONE: tuple[PromptCache, ...] = ("none",)
_NONE_OR_SALTED: tuple[PromptCache, ...] = ("none", "salted")


def wanted_cache(model: ModelDeployment) -> RouteCache:
    """The cache policy of a model's route once all its pods are of the newest revision."""
    spec = model.spec
    engine = engine_of(spec)
    no_store = spec.cache.no_store
    if spec.cache.mode is CacheMode.DISABLED:
        no_store = NoStore.NOT_STORED  # nothing is ever stored, so every call gets what the strictest would ask for
    elif not engine.cache_promise(spec).kept:
        no_store = NoStore.REFUSE  # better no answer than a broken promise
    salted = spec.cache.mode is not CacheMode.DISABLED
    return RouteCache(
        mode=spec.cache.mode, no_store=no_store, salt_field=engine.body_fields(spec).salt if salted else None
    )


def truthful(
    world: World, key: Key, region: str, cache: RouteCache, salt_field: str | None, *, own_pool: bool = False
) -> RouteCache:
    """`cache`, or what a model's route may say while pods of another revision do not keep that.

    With `own_pool` there is still a pool that `no-store` calls can go to.
    """
    if not unkept(world, key, region, cache):
        return cache
    # The strictest mode of a model that has a cache: without such a pool the gateway refuses `no-store` calls, and it
    # salts all others.
    no_store = NoStore.NOT_STORED if own_pool else NoStore.REFUSE
    return cache.model_copy(update={"mode": CacheMode.TENANT, "no_store": no_store, "salt_field": salt_field})


def policy_status(spec: ModelDeploymentSpec, cache: RouteCache) -> CachePolicyStatus:
    """What is told of a model whose route says `cache`."""
    stored = engine_of(spec).prompt_cache(spec, "default")
    modes = {"none": CacheMode.DISABLED, "shared": CacheMode.SHARED, "salted": spec.cache.mode}
    version = judged_version(spec)
    offload = spec.cache.offload
    return CachePolicyStatus(
        mode=modes[stored],
        no_store=cache.no_store,
        engine_version="" if version is None else str(version),
        offload=offload.memory if offload is not None and stored != "none" else "",
    )


def unkept(world: World, key: Key, region: str, cache: RouteCache) -> str:
    """Which pods of a model in `region` do not keep what `cache` promises `no-store` callers; empty if all do.

    Pods of an older revision serve behind the same Service until the last of them has ended.
    """
    promise = _promise(cache)
    if promise is None:
        return ""
    return _others(world, key, region, *promise)


def mixed(world: World, key: Key, region: str, cache: RouteCache) -> str:
    """Which pods let several tenants share a cache though `cache` keeps them apart; empty if none does."""
    if cache.mode is not CacheMode.TENANT or world.settings.gateway_auth is GatewayAuth.NONE:
        return ""
    return _others(world, key, region, "default", _NONE_OR_SALTED)


def _others(world: World, key: Key, region: str, pool: PoolName, wanted: Collection[str]) -> str:
    existing = pods_answering(world, key, region, pool)
    others = [pod for pod in existing if pod.prompt_cache not in wanted]
    name = pool_name(key.name, region, pool)
    if others:
        return f"{len(others)} of {len(existing)} pods of `{name}` run with another prompt cache"
    # A pod of it that is lost comes again, and may be ready before gateways hear of it.
    facts, own = world.facts, Key(key.namespace, name)
    for fact in (facts.deployments.get(own), facts.group_sets.get(own)):
        if fact is not None and fact.template and fact.prompt_cache not in wanted:
            return f"`{name}` still makes pods with another prompt cache"
    return ""


def cache_of(template: Manifest) -> str:
    """What the pods of a template do with prompts, by their label."""
    return str(serving_pod(template).get("metadata", {}).get("labels", {}).get(LABEL_PROMPT_CACHE, ""))


def is_uncached(world: World, key: Key, region: str, pool: PoolName) -> bool:
    """Whether no pod that may answer in a pool has a prompt cache."""
    return all(pod.prompt_cache in _NONE for pod in pods_answering(world, key, region, pool))


def _promise(cache: RouteCache) -> tuple[PoolName, Collection[str]] | None:
    """The pool that a promise to `no-store` callers rests on, and what its pods' caches may be."""
    if cache.mode is CacheMode.DISABLED:
        return "default", _NONE
    if cache.no_store is NoStore.NOT_STORED:
        return "no-store", _NONE
    return ("default", _NONE_OR_SALTED) if cache.no_store is NoStore.ISOLATED else None
