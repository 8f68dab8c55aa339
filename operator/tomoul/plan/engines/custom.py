"""Custom: any server that answers OpenAI's chat completions at port 8000; what it does is as its spec declares."""

from collections.abc import Mapping
from typing import Any

from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.conditions import Reason
from tomoul.api.engine import CustomEngine, PromptCaching, SeedWorth
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines.base import (
    PORT,
    BodyFields,
    CachePromise,
    EngineContainer,
    EngineDefinition,
    Obstacle,
    PromptCache,
    Refusal,
    SeedHandling,
    is_uncached,
    model_path,
)
from tomoul.plan.engines.environment import reserved_variable
from tomoul.plan.engines.promises import NO_CACHE, no_offload, with_no_store

_CACHES: dict[PromptCaching, PromptCache] = {
    PromptCaching.NONE: "none",
    PromptCaching.SALTED: "salted",
    PromptCaching.SHARED: "shared",
}
_DECLARED = "as `spec.engine.custom` declares, which Tomoul cannot check"


def default_image(version: str) -> str:
    """There is none: the schema demands an image."""
    raise LookupError("a Custom engine names its image")


def container(spec: ModelDeploymentSpec, pool: PoolName, *, deterministic: bool = False) -> EngineContainer:
    """The image's command, with what turns the prompt cache off where there is to be none."""
    custom = _custom(spec)
    return EngineContainer(
        args=(*spec.engine.args, *(custom.no_cache_args if is_uncached(spec, pool) else ())),
        command=custom.command,
        env={"PORT": str(PORT), "MODEL_PATH": model_path(spec.source)},
        shared_memory=True,
        health_path=custom.health_path,
        bash=custom.bash,
    )


def refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """The first promise that the engine, as it is declared, has no means to keep, or None."""
    if spec.resources.pipeline > 1:
        message = "must be 1: Tomoul does not know how this engine is told of stages; say it in `spec.engine.args`"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.resources.pipeline", message)
    if spec.adapters:
        message = "must be empty: Tomoul does not know how this engine loads an adapter, nor how a call names one"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.adapters", message)
    custom = _custom(spec)
    no_store = spec.cache.no_store
    disabled = spec.cache.mode is CacheMode.DISABLED
    if custom.prompt_cache is PromptCaching.NONE and not disabled:
        message = "must be Disabled: `spec.engine.custom.promptCache` says that the engine has no prompt cache"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.cache.mode", message)
    cannot_stop = custom.prompt_cache is not PromptCaching.NONE and not custom.no_cache_args
    if cannot_stop and (disabled or no_store is NoStore.NOT_STORED):
        message = (
            "must name the arguments that turn the prompt cache off, which some of its pods must do without: "
            "those for `noStore: NotStored`, all in mode Disabled, and all in mode Tenant where gateways ask for keys, "
            "unless it is Salted; or say `promptCache: None` if the engine never keeps a prompt, "
            "or `spec.cache.mode: Shared` if tenants may share it"
        )
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.engine.custom.noCacheArgs", message)
    if no_store is NoStore.ISOLATED and not disabled and custom.prompt_cache is PromptCaching.SHARED:
        message = (
            "must be NotStored or Refuse: no call can be isolated in a cache that all share; "
            "if the engine has a cache salt, say `spec.engine.custom.promptCache: Salted` and its `saltField`"
        )
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.cache.noStore", message)
    reserved = {
        "PORT": "the gateway reaches the engine where the operator says",
        "MODEL_PATH": "`spec.source` names the weights",
    }
    why = "Custom, of which Tomoul knows no flag for it: use `args`, and declare what they make of the cache"
    return reserved_variable(spec, reserved) or no_offload(spec, why)


def cache_promise(spec: ModelDeploymentSpec) -> CachePromise:
    """The promise, as good as what the spec declares; what cannot be kept was refused before."""
    caching = _custom(spec).prompt_cache
    if spec.cache.mode is CacheMode.DISABLED:
        return CachePromise(True, Reason.ENFORCED, f"{NO_CACHE}, {_DECLARED}")
    if caching is PromptCaching.SALTED and spec.cache.mode is CacheMode.TENANT:
        shared = f"A salt per tenant isolates the cache, {_DECLARED}"
    else:
        shared = f"All calls share the cache, {_DECLARED}"
    return CachePromise(True, Reason.ENFORCED, with_no_store(shared, spec.cache.no_store))


def prompt_cache(spec: ModelDeploymentSpec, pool: PoolName) -> PromptCache:
    """What the engine's pods in a pool do with prompts."""
    return "none" if is_uncached(spec, pool) else _CACHES[_custom(spec).prompt_cache]


def seeds(spec: ModelDeploymentSpec) -> SeedHandling:
    """What the spec declares."""
    worth = _custom(spec).seed
    if worth is SeedWorth.DETERMINISTIC:
        return SeedHandling("best_effort", None)
    message = f"`spec.engine.custom.seed` says {worth}; say Deterministic if equal seeds do give equal answers"
    obstacle = Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)
    return SeedHandling("ignored" if worth is SeedWorth.IGNORED else "best_effort", obstacle)


def adapter_fields(spec: ModelDeploymentSpec, index: int) -> Mapping[str, Any]:
    """It has none."""
    return {}


def body_fields(spec: ModelDeploymentSpec) -> BodyFields:
    """The fields that the spec declares; nobody but the gateway sets the salt."""
    custom = _custom(spec)
    remove = dict.fromkeys((*([custom.salt_field] if custom.salt_field else []), *custom.remove_fields))
    return BodyFields(salt=custom.salt_field, remove=tuple(remove))


def _custom(spec: ModelDeploymentSpec) -> CustomEngine:
    return spec.engine.custom or CustomEngine()


ENGINE = EngineDefinition(
    type="Custom",
    about="any server that speaks OpenAI's chat completions",
    default_image=default_image,
    container=container,
    refusal=refusal,
    cache_promise=cache_promise,
    prompt_cache=prompt_cache,
    seeds=seeds,
    adapter_fields=adapter_fields,
    body_fields=body_fields,
    mixes_adapters=False,
    metrics=None,
    keeps_connections=True,
)
