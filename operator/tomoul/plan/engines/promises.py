"""Promises that engines on GPUs keep alike, by their versions, and words that all engines share."""

from collections.abc import Sequence

from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines.base import CachePromise, Obstacle, PromptCache, Refusal, is_uncached, named_flag
from tomoul.plan.engines.version import Version
from tomoul.plan.quantity import whole

NO_CACHE = "No call's prompt is cached"
NOT_STORED = "`no-store` calls run in a pool without a prompt cache"
ONE_TENANT = "gateways run without authentication, so all callers are one tenant"


def salted_promise(
    spec: ModelDeploymentSpec, version: Version | None, salt_since: Version, engine: str
) -> CachePromise:
    """Promise of an engine that keys its cache by a salt since version `salt_since`.

    Of an image without a version nothing is known, so nothing is promised that rests on its salt.
    """
    cache = spec.cache
    if cache.mode is CacheMode.DISABLED:
        return CachePromise(True, Reason.ENFORCED, NO_CACHE)
    if version is None or version < salt_since:
        why, remedy = f"{engine} ignores the cache salt before {salt_since}", f"use {salt_since} or newer"
        if version is None:
            why = f"{why}, and the tag of `spec.engine.image` names no version"
            remedy = "say in `spec.engine.version` which version it is"
        else:
            why = f"{why}, and this is {version}"
        if cache.no_store is NoStore.ISOLATED:
            reason = Reason.ENGINE_VERSION_UNKNOWN if version is None else Reason.ENGINE_CANNOT_ISOLATE
            message = f"`no-store` calls are refused: {why}; {remedy}, or use `spec.cache.noStore: NotStored`"
            return CachePromise(False, reason, message)
        shared = f"All calls share the cache: {why}; {ONE_TENANT}"
        return CachePromise(True, Reason.ENFORCED, with_no_store(shared, cache.no_store))
    shared = "All calls share the cache" if cache.mode is CacheMode.SHARED else "A salt per tenant isolates the cache"
    if cache.offload is not None:
        shared = f"{shared}, also what of it lies in {cache.offload.memory} of each pod's memory"
    return CachePromise(True, Reason.ENFORCED, with_no_store(shared, cache.no_store))


def salted_cache(
    spec: ModelDeploymentSpec, pool: PoolName, version: Version | None, salt_since: Version
) -> PromptCache:
    """What pods in a pool do with prompts, of an engine that keys its cache by a salt since version `salt_since`."""
    if is_uncached(spec, pool):
        return "none"
    return "shared" if version is None or version < salt_since else "salted"


def offload_refusal(spec: ModelDeploymentSpec, version: Version | None, since: Version) -> Refusal | None:
    """Why an engine that offloads by salts since version `since` cannot do what `cache.offload` asks for, or None."""
    offload, name = spec.cache.offload, spec.engine.type
    if offload is None:
        return None
    field = "spec.cache.offload"
    if version is None:
        message = f"{name} offloads by salts from {since} on; say in `spec.engine.version` which version the image has"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, field, message)
    if version < since:
        message = f"{name} offloads by salts from {since} on, and this is {version}; use {since} or newer, or remove it"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, field, message)
    if spec.resources.memory is not None and whole(offload.memory) >= whole(spec.resources.memory):
        message = f"`{offload.memory}` must be less than `spec.resources.memory`, of which it is a part"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, f"{field}.memory", message)
    return None


def group_refusal(spec: ModelDeploymentSpec, version: Version | None, since: Version) -> Refusal | None:
    """Why an engine whose pods work together since version `since` cannot do so in this one, or None."""
    if spec.resources.nodes == 1 or (version is not None and version >= since):
        return None
    known = f"this is {version}" if version is not None else "the tag of `spec.engine.image` names no version"
    message = (
        f"is known to work from {spec.engine.type} {since} on, and {known}; "
        "use a newer one, or say in `spec.engine.version` which it is"
    )
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.resources.nodes", message)


def offloaded_bytes(spec: ModelDeploymentSpec, pool: PoolName) -> int:
    """How much a pod of a pool may offload; never anything where nothing is to be kept."""
    offload = spec.cache.offload
    return whole(offload.memory) if offload is not None and not is_uncached(spec, pool) else 0


def no_offload(spec: ModelDeploymentSpec, why: str) -> Refusal | None:
    """The refusal of an engine that cannot offload, or None where it need not."""
    if spec.cache.offload is None:
        return None
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.cache.offload", f"is not possible with {why}; remove it")


def repeating(
    spec: ModelDeploymentSpec, version: Version | None, since: Version, guessing: Sequence[str]
) -> Obstacle | None:
    """What keeps an engine with batch-invariant GPU kernels since version `since` from repeating an answer, or None.

    `guessing`: flags that have tokens guessed ahead.
    """
    name = spec.engine.type
    if version is None:
        message = f"{name} repeats an answer from {since} on; say in `spec.engine.version` which version the image has"
        return Obstacle(Reason.ENGINE_VERSION_UNKNOWN, message)
    if version < since:
        message = f"{name} repeats an answer from {since} on, and this is {version}; use {since} or newer"
        return Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)
    if spec.resources.accelerator is None:
        message = f"{name} repeats an answer only on GPUs; name their `spec.resources.accelerator`"
        return Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)
    if spec.resources.nodes > 1:
        message = f"nobody has shown that {name} repeats an answer on several nodes; use `spec.resources.nodes: 1`"
        return Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)
    if (flag := named_flag(spec.engine.args, guessing)) is not None:
        message = f"tokens that are guessed ahead change answers; remove `{flag}`"
        return Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)
    return None


def with_no_store(text: str, no_store: NoStore) -> str:
    """`text`, and what calls with `no-store` get."""
    words = {
        NoStore.ISOLATED: "`no-store` calls get a salt of their own",
        NoStore.NOT_STORED: NOT_STORED,
        NoStore.REFUSE: "`no-store` calls are refused",
    }
    return f"{text}. {words[no_store]}"
