"""Cache promises of engines whose cache is keyed by a salt in the body, and words that all engines share."""

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import CacheMode, ModelDeploymentSpec, NoStore
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines.base import CachePromise, PromptCache, image_version

NO_CACHE = "No call's prompt is cached"
NOT_STORED = "`no-store` calls run in a pool without a prompt cache"
ONE_TENANT = "gateways run without authentication, so all callers are one tenant"


def salted_promise(
    spec: ModelDeploymentSpec, image: str, salt_since: tuple[int, int, int], engine: str
) -> CachePromise:
    """Promise of an engine that keys its cache by a salt since version `salt_since`.

    An image whose tag names no version is taken at its word: it is somebody's own build.
    """
    cache = spec.cache
    if cache.mode is CacheMode.DISABLED:
        return CachePromise(True, Reason.ENFORCED, NO_CACHE)
    version = image_version(image)
    if version is not None and version < salt_since:
        since = ".".join(map(str, salt_since))
        if cache.no_store is NoStore.ISOLATED:
            message = (
                f"`no-store` calls are refused: {engine} ignores the cache salt before {since} and "
                f"`spec.engine.image` is older; use {since} or newer, or `spec.cache.noStore: NotStored`"
            )
            return CachePromise(False, Reason.ENGINE_CANNOT_ISOLATE, message)
        shared = f"The cache is shared: {engine} ignores the cache salt before {since}; {ONE_TENANT}"
        return CachePromise(True, Reason.ENFORCED, _with_no_store(shared, cache.no_store))
    if cache.mode is CacheMode.SHARED:
        return CachePromise(True, Reason.ENFORCED, _with_no_store("All calls share the cache", cache.no_store))
    shared = "A salt per tenant isolates the cache"
    return CachePromise(True, Reason.ENFORCED, _with_no_store(shared, cache.no_store))


def salted_cache(
    spec: ModelDeploymentSpec, pool: PoolName, image: str, salt_since: tuple[int, int, int]
) -> PromptCache:
    """What pods in a pool do with prompts, of an engine that keys its cache by a salt since version `salt_since`."""
    if spec.cache.mode is CacheMode.DISABLED or pool == "no-store":
        return "none"
    version = image_version(image)
    return "shared" if version is not None and version < salt_since else "salted"


def _with_no_store(text: str, no_store: NoStore) -> str:
    words = {
        NoStore.ISOLATED: "`no-store` calls get a salt of their own",
        NoStore.NOT_STORED: NOT_STORED,
        NoStore.REFUSE: "`no-store` calls are refused",
    }
    return f"{text}. {words[no_store]}"
