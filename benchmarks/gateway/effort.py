"""How much is measured, which decides how long a run takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Bounds in count and time."""

    rounds: int
    """How often every case is measured at every subject, in turns."""
    seconds: float
    """For one case at one subject in one round."""
    stream_seconds: float
    """The same for long streams, where they are judged: of those each connection has about one a second."""
    requests: int
    """The same; whatever is reached first."""
    peers: bool
    """Whether installed peers are measured."""
    many_models: int
    changes: int
    """Single changes that are timed, of each kind."""
    updates: int
    """Consecutive updates under streams."""
    update_streams: int
    """Streams that are open meanwhile."""


FULL = Effort(
    rounds=3, seconds=0.5, stream_seconds=3.5, requests=3000, peers=True, many_models=1000, changes=9, updates=100,
    update_streams=32,
)  # fmt: skip
QUICK = Effort(
    rounds=1, seconds=0.25, stream_seconds=0.25, requests=1000, peers=False, many_models=1000, changes=3, updates=20,
    update_streams=8,
)  # fmt: skip
