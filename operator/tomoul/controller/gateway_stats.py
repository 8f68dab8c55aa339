"""Gateway stats: what a gateway pod's Envoy counts, read at its metrics port."""

from collections.abc import Mapping

from aiohttp import ClientSession

from tomoul.controller.asking import read_pod
from tomoul.plan.gateway import METRICS_PORT

LARGEST_BYTES = 8 * 1024 * 1024


async def gateway_stats(
    session: ClientSession, address: str, query: Mapping[str, str], port: int = METRICS_PORT
) -> str:
    """Answer to `query` in Prometheus' text format, from the gateway pod with that IP address.

    Raises as `read_pod`, and ValueError if it is no text.
    """
    return (await read_pod(session, address, port, "/stats/prometheus", largest=LARGEST_BYTES, query=query)).decode()
