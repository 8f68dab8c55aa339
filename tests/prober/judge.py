"""What a reply has to say, given what was asked: the prober's oracle, without any network."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One call."""

    gateway: str
    """Region of the gateway that was called."""
    region: str | None
    """The pin."""
    no_store: bool
    tenant: str
    model: str
    not_stored: bool
    """Whether the model's `no-store` calls belong into a pool of their own."""


@dataclass(frozen=True)
class Answered:
    """What came of it; status 0: the connection broke, and nobody knows what the engine did."""

    status: int
    region: str = ""
    """`x-tomoul-region`."""
    code: str = ""
    """Of a refusal."""
    cached: int | None = None
    """`cached_tokens` in the usage."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the engine says of itself and of its cache, in the answer's text: `pod`, `region`, `pool`, `caches`,
    `cached` and `tokens`."""


def fault_of(asked: Asked, answered: Answered, seen: Collection[str]) -> str:
    """What is wrong with an answer, or nothing. `seen`: pods that have this prompt from this tenant, to be stored."""
    if answered.status != 200:
        return "" if answered.code or answered.status == 0 else f"a refusal without a code: {answered.status}"
    facts = answered.facts
    if not facts:
        return "an answer that no engine gave"
    if asked.region is not None and facts["region"] != asked.region:
        return f"region: {facts['region']} answered what {asked.region} was asked"
    if answered.region != facts["region"]:
        return f"region: {facts['region']} answered, and the answer says {answered.region}"
    wanted = "no-store" if asked.no_store and asked.not_stored else "default"
    if facts["pool"] != wanted:
        return f"pool: {facts['pool']} answered, {wanted} was asked"
    if answered.cached != facts["cached"]:
        return f"cache: the engine had {facts['cached']} tokens, and the usage says {answered.cached}"
    hit = not asked.no_store and facts["caches"] and facts["pod"] in seen
    if facts["cached"] != (facts["tokens"] if hit else 0):
        return f"cache: {facts['cached']} cached tokens where {facts['tokens'] if hit else 0} were to be expected"
    return ""
