"""Cache: who shares a model's prompt cache, what calls get that ask not to be cached, and what of it is told."""

from enum import StrEnum

from pydantic import Field

from tomoul.api.meta import ApiModel, StatusModel
from tomoul.api.names import Memory
from tomoul.api.rules import rule


class CacheMode(StrEnum):
    """Disabled: there is no cache. Tenant: calls of one tenant share it. Shared: all calls share it."""

    DISABLED = "Disabled"
    TENANT = "Tenant"
    SHARED = "Shared"


class NoStore(StrEnum):
    """What a call gets that asks not to be cached.

    Isolated: nothing is read from, or served to, another call. NotStored: the call runs in a pool without any prompt
    cache. Refuse: 400 `cache_policy_unsatisfiable`. Mode Disabled caches nothing, so that Isolated and NotStored hold.
    """

    ISOLATED = "Isolated"
    NOT_STORED = "NotStored"
    REFUSE = "Refuse"


class Offload(ApiModel):
    """Where cached prompts go that GPUs have no room for."""

    memory: Memory = Field(
        description="Memory of each pod for cached prompts, such as `64Gi`; a part of `resources.memory`"
    )


class Cache(ApiModel):
    """The prompt cache, and what opting out of it means."""

    mode: CacheMode = Field(default=CacheMode.TENANT, description="Who shares the prompt cache")
    no_store: NoStore = Field(default=NoStore.REFUSE, description="Answer to `X-Tomoul-Cache: no-store`")
    offload: Offload | None = Field(default=None, description="A second tier of the cache, in the pods' memory")

    @rule(
        "!has(self.offload) || self.mode != 'Disabled'",
        field="offload",
        message="must be left out in mode Disabled, which caches nothing",
    )
    def _only_what_is_cached_is_offloaded(self) -> bool:
        return self.offload is None or self.mode is not CacheMode.DISABLED


class CachePolicyStatus(StatusModel):
    """The cache policy that calls get, which is not what the spec asks for where the engine cannot keep that."""

    mode: CacheMode = Field(description="Who shares the prompt cache in fact")
    no_store: NoStore = Field(description="What `X-Tomoul-Cache: no-store` gets now")
    engine_version: str = Field(
        default="",
        max_length=64,
        description="Version that this was judged by; empty if it is unknown or does not matter",
    )
    offload: str = Field(default="", max_length=32, description="Memory of each pod that is a second tier of the cache")
