"""Gateway stats: what a gateway pod's Envoy counts, read at its metrics port."""

from collections.abc import Mapping

from aiohttp import ClientSession

from tomoul.plan.gateway import METRICS_PORT

LARGEST_BYTES = 8 * 1024 * 1024


async def gateway_stats(
    session: ClientSession, address: str, query: Mapping[str, str], port: int = METRICS_PORT
) -> str:
    """Answer to `query` in Prometheus' text format, from the gateway pod with that IP address.

    OSError, ClientError or TimeoutError if there is none, ValueError if it is no text or too large.
    """
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}/stats/prometheus"
    async with session.get(url, params=query, raise_for_status=True) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > LARGEST_BYTES:
                raise ValueError(f"more than {LARGEST_BYTES} bytes of metrics")
        return body.decode()
