"""Loading: what a loader tells of itself while it brings weights, and by its exit code when it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

LOADER = "loader"
"""Name of the init container."""
ADAPTER_LOADER = f"{LOADER}-adapter-"
"""With an adapter's index behind it, the name of the one that brings that."""


class LoadFailure(IntEnum):
    """Exit codes of a loader that has given up, because trying again does not help."""

    UNSUITABLE = 1
    """Anything else: what the source holds cannot be used."""
    REFUSED = 10
    NOT_FOUND = 11
    CORRUPT = 12
    VOLUME = 13


WAY_OUT: Mapping[int, str] = {
    LoadFailure.UNSUITABLE: "correct `spec.source`, or what lies there",
    LoadFailure.REFUSED: "name a Secret in `spec.source` whose credentials may read it, and see that its names are "
    "right: hubs and registries also refuse what they do not have",
    LoadFailure.NOT_FOUND: "correct the names in `spec.source`",
    LoadFailure.CORRUPT: "look at the source, and at what is between it and the cluster",
    LoadFailure.VOLUME: "use a larger volume, which user 65532 may write and lock",
}
"""What to do about each, in the words of a ModelDeployment."""


@dataclass(frozen=True)
class DownloadFact:
    """What the loader of one pod said last."""

    state: str
    """Listing, Waiting (for another loader, which downloads the same to the same volume), Downloading or Verifying."""
    bytes: int
    """On the volume."""
    total: int
    """0 until the source has been listed."""
    bytes_per_second: int
    updated: datetime
    """When it said so, by the operator's clock."""
    stalled_since: datetime | None = None
    """When the last byte came, if that is too long ago."""
    error: str = ""
    """What went wrong since the last byte came, and is tried again."""
