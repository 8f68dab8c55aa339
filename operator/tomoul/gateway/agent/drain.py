"""Draining: what the kubelet asks for before it stops Envoy, so that a pod's end cuts no call.

The hook of Envoy's container gets `/drain`, and Envoy is stopped once that is answered. Until then Envoy serves, but
fails its health check and asks clients to close: by `Connection: close` on HTTP/1.1 answers, by GOAWAY on HTTP/2. Its
command `/drain_listeners` would add nothing. The answer comes once calls no longer do: everybody has moved on.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientConnectorError, ClientError, web

from tomoul.gateway.agent.admin import counts, post
from tomoul.kube.probes import serve
from tomoul.plan.gateway import DRAIN_TOKEN_HEADER

logger = logging.getLogger(__name__)

QUIET_SECONDS = 10.0
"""How long no call may have come or run: a kubelet's probe fails within 4 s, then load balancers have to notice."""
POLL_SECONDS = 0.2
_ACTIVE, _COMPLETED = "http.gateway.downstream_rq_active", "http.gateway.downstream_rq_completed"
# A kubelet's probes are not in the second.
_CALLS = "^http.gateway.downstream_rq_(active|completed)$"


@dataclass(frozen=True)
class DrainOptions:
    """Where draining is asked for, and how long it may take."""

    admin_socket: Path
    """Envoy's admin interface."""
    port: int = 9092
    seconds: float = 600.0
    """After these, calls that still run are left to be cut."""
    quiet_seconds: float = QUIET_SECONDS
    token: str = ""
    """What DRAIN_TOKEN_HEADER must say; empty lets everybody drain."""
    address: str = ""
    """Where the port listens; empty means on all addresses of both families."""


@asynccontextmanager
async def serve_drain(options: DrainOptions) -> AsyncIterator[int]:
    """Answer GET /drain once Envoy may be stopped; gives the port."""

    async def answer(request: web.Request) -> web.Response:
        token = request.headers.get(DRAIN_TOKEN_HEADER, "").encode(errors="surrogateescape")
        if options.token and not hmac.compare_digest(token, options.token.encode()):
            return web.Response(
                status=403, text=f"only the pod's own preStop hook may drain, by its `{DRAIN_TOKEN_HEADER}`\n"
            )
        return web.Response(text=await drain(options) + "\n")

    async with serve(options.port, {}, address=options.address, handlers={"/drain": answer}) as port:
        yield port


async def drain(options: DrainOptions) -> str:
    """Take Envoy out of service and wait until its calls have ended; gives why the wait is over."""
    logger.info("draining: Envoy goes out of service and ends once no call has come for %g s", options.quiet_seconds)
    clock = asyncio.get_running_loop().time
    end, quiet_until, known = clock() + options.seconds, clock() + options.quiet_seconds, -1
    failed = False
    while clock() < min(end, quiet_until):
        try:
            if not failed:
                await post(options.admin_socket, "/healthcheck/fail")
                failed = True
            calls = await counts(options.admin_socket, _CALLS)
            # An Envoy that has not had its configuration counts no calls.
            active, completed = calls.get(_ACTIVE, 0), calls.get(_COMPLETED, 0)
            quiet, known = active == 0 and completed == known, completed
        except ClientConnectorError as error:
            return _done(f"Envoy is gone: {error}")
        except (ClientError, TimeoutError) as error:
            logger.warning("Envoy's admin interface does not answer: %r", error)
            quiet = False
        if not quiet:
            quiet_until = clock() + options.quiet_seconds
        await asyncio.sleep(POLL_SECONDS)
    return _done("no calls are left" if quiet_until <= end else f"calls still ran after {options.seconds:g} s")


def _done(why: str) -> str:
    logger.info("drained: %s", why)
    return why
