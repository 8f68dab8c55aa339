"""What is asked: bodies of four sizes and streams, over one, a few and many connections."""

from dataclasses import dataclass

SIZES_KB = (1, 8, 100, 400)
CONNECTIONS = (1, 8, 64)
JUDGED_CONNECTIONS = 8
"""Figures are judged, and peers measured, at this many."""
STREAM_CHUNKS = 200


@dataclass(frozen=True)
class Case:
    """One kind of load."""

    size_kb: int
    connections: int
    chunks: int = 0
    """Chunks of each answer; 0 for answers that are no streams."""

    @property
    def kind(self) -> str:
        """Name without the connections."""
        if self.chunks == 1:
            return "first chunk"
        return f"stream of {self.chunks} chunks" if self.chunks else f"{self.size_kb} KB"

    @property
    def for_peers(self) -> bool:
        """Whether peers are measured too: they would double the run's time."""
        return self.connections == JUDGED_CONNECTIONS


def all_cases() -> list[Case]:
    """In the order of measurement."""
    bodies = [Case(size, connections) for size in SIZES_KB for connections in CONNECTIONS]
    # Streams of one chunk tell the time to the first: hundreds of them instead of one stream a second.
    first = [Case(1, connections, 1) for connections in (1, JUDGED_CONNECTIONS)]
    return [*bodies, *first, *(Case(1, connections, STREAM_CHUNKS) for connections in CONNECTIONS)]
