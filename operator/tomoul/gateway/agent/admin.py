"""Envoy's admin interface on its Unix socket."""

from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, UnixConnector

TIMEOUT_SECONDS = 2.0


async def post(socket: Path, path: str) -> None:
    """Tell Envoy to do something. Raises as `counts` does."""
    await _request(socket, "POST", path)


async def counts(socket: Path, pattern: str) -> dict[str, int]:
    """Envoy's counters and gauges whose names match the regular expression `pattern`.

    Raises ClientConnectionError (an OSError where nothing listens), ClientResponseError, or TimeoutError after 2 s.
    """
    lines = (await _request(socket, "GET", f"/stats?filter={pattern}")).splitlines()
    return {name: int(value) for name, separator, value in (line.partition(": ") for line in lines) if separator}


async def _request(socket: Path, method: str, path: str) -> str:
    connector = UnixConnector(str(socket))
    async with (
        ClientSession(
            connector=connector, timeout=ClientTimeout(total=TIMEOUT_SECONDS), raise_for_status=True
        ) as session,
        session.request(method, f"http://envoy{path}") as response,
    ):
        return await response.text()
