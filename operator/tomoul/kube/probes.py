"""Probes: a small HTTP server for health checks and metrics."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Check = Callable[[], str]
"""Returns what is wrong, or an empty text."""
Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def serve(
    port: int,
    checks: Mapping[str, Check],
    registry: CollectorRegistry | None = None,
    *,
    handlers: Mapping[str, Handler] | None = None,
    address: str = "",
) -> AsyncIterator[int]:
    """Answer the paths of `checks` with 200 or 503, `/metrics` if there is a registry, and those of `handlers`.

    Gives the port.

    Without an `address` it listens on all, of IPv6 too. Port 0 takes a free one. Raises OSError if the port is taken.
    """
    application = web.Application()
    for path, check in checks.items():
        application.router.add_get(path, _answer(check))
    if registry is not None:
        application.router.add_get("/metrics", _metrics(registry))
    for path, handler in (handlers or {}).items():
        application.router.add_get(path, handler)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        listener = listen(address, port)
        await web.SockSite(runner, listener).start()
        yield int(listener.getsockname()[1])
    finally:
        await runner.cleanup()


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens on `address`, or on all if it is empty. Raises OSError if the port is taken."""
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _answer(check: Check) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        wrong = check()
        return web.Response(status=503 if wrong else 200, text=(wrong or "ok") + "\n")

    return handler


def _metrics(registry: CollectorRegistry) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return handler
