"""Effects: what a diff can mean to who calls and to who pays."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Effect(StrEnum):
    """What kind of consequence it is. Pipelines go by these: none changes its name."""

    MODEL_GONE = "ModelGone"
    REGION_LOST = "RegionLost"
    REGION_STATE = "RegionState"
    CALLS_REFUSED = "CallsRefused"
    CALLS_MOVE = "CallsMove"
    TENANT_CHANGED = "TenantChanged"
    KEYS_READ = "KeysRead"
    PODS_REPLACED = "PodsReplaced"
    PODS_END = "PodsEnd"
    CACHE_CHANGED = "CacheChanged"
    GATEWAYS_REPLACED = "GatewaysReplaced"
    PODS_START = "PodsStart"
    MODEL_SERVED = "ModelServed"


HARMLESS = frozenset({Effect.PODS_START, Effect.MODEL_SERVED})
"""Those of which nobody who calls now notices anything."""


class Consequence(NamedTuple):
    """One thing that somebody notices."""

    effect: Effect
    subject: str
    """Such as `acme/chat`, `tenant models/team` or `region eu-west`."""
    regions: tuple[str, ...]
    """Where; none for what is so everywhere."""
    message: str


def words(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names)
