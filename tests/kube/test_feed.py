"""kopf ends as a whole, and says so, as soon as one of its parts has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from tomoul.kube.feed import FeedEndedError, feed
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.resources import NAMESPACES
from tomoul.kube.store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """As much of an API server as kopf needs to watch Namespaces; watches are `watch`'s."""

    def __init__(self, watch: Handler) -> None:
        self._watch = watch
        self.watching = asyncio.Event()

    async def start(self) -> tuple[web.AppRunner, str]:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            self.watching.set()
            return await self._watch(request)
        answers: dict[str, Any] = {
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": []},
            "/api/v1": {
                "resources": [
                    {
                        "name": "namespaces",
                        "singularName": "namespace",
                        "kind": "Namespace",
                        "namespaced": False,
                        "verbs": ["list", "watch"],
                    }
                ]
            },
            "/api/v1/namespaces": {"metadata": {"resourceVersion": "1"}, "items": []},
        }
        found = answers.get(request.path)
        return web.json_response(found) if found is not None else web.Response(status=404)


async def silent(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.sleep(3600)
    return response


async def failing(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "broken"}}\n')
    return response


class EndsAtOnce:
    """What a server does that is shutting down, or a proxy with a short temper."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(asyncio.get_running_loop().time())
        response = web.StreamResponse()
        await response.prepare(request)
        return response


class Busy:
    """Refuses the first watch, and the second for longer than anybody waits; the others are silent."""

    def __init__(self) -> None:
        self.refusals = ["Thu, 26 Nov 2099 20:00:00 GMT", "0"]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return web.Response(status=429, headers={"Retry-After": self.refusals.pop(0)})
        return await silent(request)


async def watch(host: str, stop: asyncio.Event, **configuration: Any) -> None:
    client = HttpKubeClient(Configuration(host=host))
    for name, value in configuration.items():
        setattr(client.configuration, name, value)
    store: Store[Any] = Store(NAMESPACES, lambda item: item)
    bugs: list[Exception] = []
    async with client, asyncio.timeout(20):
        await feed(client, [store], started=asyncio.Event(), stop=stop, on_bug=bugs.append)


async def test_a_watch_that_the_api_server_ends_for_good_ends_the_feed_with_its_reason() -> None:
    runner, host = await Server(failing).start()
    others = asyncio.create_task(asyncio.sleep(3600))
    with pytest.raises(FeedEndedError, match="broken"):
        await watch(host, asyncio.Event())
    assert not others.done(), "what is not kopf's goes on"
    others.cancel()
    await runner.cleanup()


async def test_credentials_that_cannot_be_read_end_the_feed_with_their_reason(tmp_path: Path) -> None:
    runner, host = await Server(silent).start()
    with pytest.raises(FeedEndedError, match="credentials"):
        await watch(host, asyncio.Event(), ssl_ca_cert=str(tmp_path / "absent.crt"))
    await runner.cleanup()


async def test_a_feed_that_is_stopped_ends_without_an_error_and_leaves_other_tasks_alone() -> None:
    server = Server(silent)
    runner, host = await server.start()
    stop = asyncio.Event()
    feeding = asyncio.create_task(watch(host, stop))
    await asyncio.wait_for(server.watching.wait(), 10)
    others = asyncio.create_task(asyncio.sleep(3600))
    stop.set()
    await asyncio.wait_for(feeding, 10)
    assert not others.done()
    others.cancel()
    await runner.cleanup()


async def test_watches_that_end_at_once_are_opened_less_and_less_often() -> None:
    ends = EndsAtOnce()
    runner, host = await Server(ends).start()
    stop = asyncio.Event()
    feeding = asyncio.create_task(watch(host, stop))
    async with asyncio.timeout(15):
        while len(ends.asked) < 4:  # noqa: ASYNC110 - it is the server's
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(feeding, 10)
    await runner.cleanup()
    pauses = [after - before for before, after in pairwise(ends.asked[:4])]
    assert pauses[0] >= 0.5
    assert pauses[1] >= 1.0
    assert pauses[2] >= 2.0


async def test_a_busy_server_is_asked_again_however_it_says_when() -> None:
    server = Busy()
    runner, host = await Server(server).start()
    stop = asyncio.Event()
    feeding = asyncio.create_task(watch(host, stop))
    async with asyncio.timeout(15):
        while server.refusals:  # noqa: ASYNC110 - it is the server's
            await asyncio.sleep(0.05)
    assert not feeding.done()
    stop.set()
    await asyncio.wait_for(feeding, 10)
    await runner.cleanup()
