"""Envoy's admin interface on its Unix socket."""

import asyncio
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0


async def post(socket: Path, path: str) -> bool:
    """Whether Envoy did as it was asked; failures are logged, since Envoy may well be gone."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(
                    f"POST {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
                status = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        logger.info("Envoy's admin interface at `%s` does not answer: %s", socket, error or "timeout")
        return False
    return len(status) > 1 and status[1] == b"200"
