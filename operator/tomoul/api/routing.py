"""Routing: which regions may answer a model's calls, which replica does, and how long the gateway waits."""

from enum import StrEnum

from pydantic import Field

from tomoul.api.meta import ApiModel
from tomoul.api.names import RegionName
from tomoul.api.rules import rule


class Timeouts(ApiModel):
    """How long the gateway waits, in seconds."""

    request_seconds: int = Field(default=600, ge=1, le=86400, description="For the whole answer")
    idle_seconds: int = Field(default=300, ge=1, le=86400, description="For the next byte, the first one included")


class Affinity(StrEnum):
    """Which replica of a region takes a call.

    None: the one with the fewest calls. Prefix: the one that took calls of the same tenant with the same beginning, or
    the same `prompt_cache_key`, and so may have it in its prompt cache, unless it has a quarter more calls than others.
    """

    NONE = "None"
    PREFIX = "Prefix"


class Routing(ApiModel):
    """Which regions may answer a call that names none, and which replica does."""

    fallback: tuple[RegionName, ...] = Field(
        default=(),
        max_length=16,
        description="Regions, in order, for calls that name none and that the gateway's own region cannot answer",
    )
    require_region: bool = Field(default=False, description="Refuse calls that name no region")
    affinity: Affinity = Field(default=Affinity.NONE, description="Which replica of a region takes a call")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="How long the gateway waits")

    @rule(
        "!has(self.fallback) || self.fallback.all(name, self.fallback.exists_one(other, other == name))",
        field="fallback",
        message="must name each region once; the order is the order in which they are tried",
        given="fallback",
    )
    def _each_fallback_is_named_once(self) -> bool:
        return len(set(self.fallback)) == len(self.fallback)

    @rule(
        "!self.requireRegion || !has(self.fallback) || size(self.fallback) == 0",
        field="fallback",
        message="must be empty where `requireRegion` is true: only calls that name no region fall back",
        given="fallback",
    )
    def _fallback_serves_calls_that_name_no_region(self) -> bool:
        return not self.require_region or not self.fallback
