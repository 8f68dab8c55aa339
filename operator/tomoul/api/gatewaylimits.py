"""What gateways are told by the installation, with the limits that every layer goes by."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Largest body of a call, unless the installation says otherwise."""
MIN_BODY_BYTES = 64 * 1024
HIGHEST_BODY_BYTES = 128 * 1024 * 1024
"""A gateway holds whole bodies in memory, of many calls at once."""
MAX_HELD_BYTES = 256 * 1024 * 1024
"""Most that answers of engines take of a gateway's memory while they arrive, all together."""
COMMENT_SECONDS = 15
"""After how long an engine's silence the client of a stream gets a comment: shorter than the idle timeouts that load
balancers and proxies come with."""
