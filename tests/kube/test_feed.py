"""kopf ends as a whole, and says so, as soon as one of its parts has ended."""

import asyncio
import json
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
        self.lists = 100
        """Lists that are answered; later ones are refused."""

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
        if request.path == "/api/v1/namespaces":
            self.lists -= 1
            if self.lists < 0:
                return web.json_response({"kind": "Status", "code": 404, "message": "no such kind"}, status=404)
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


class Failing:
    """The first watch tells of a Namespace and then says `line`; the second is silent."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self.versions: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.versions.append(request.query["resourceVersion"])
        if len(self.versions) > 1:
            return await silent(request)
        response = web.StreamResponse()
        await response.prepare(request)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "resourceVersion": "7"}}
        await response.write(json.dumps({"type": "ADDED", "object": namespace}).encode() + b"\n" + self._line)
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


def error(code: int) -> bytes:
    return json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "broken"}}).encode()


@pytest.mark.parametrize(
    ("line", "version"),
    [
        pytest.param(error(500) + b"\n", "7", id="an error that another try may get past"),
        pytest.param(error(504) + b"\n", "7", id="a timeout"),
        pytest.param(error(410) + b"\n", "1", id="too old a version"),
        pytest.param(error(400) + b"\n", "1", id="a version that the server does not take"),
        pytest.param(b"upstream connect error\n", "7", id="a proxy's words"),
        pytest.param(b'{"type": "MODIFIED", "object": {"kind"', "7", id="a line that breaks off"),
    ],
)
async def test_a_watch_that_is_told_of_an_error_is_opened_anew_by_a_list_where_its_version_is_refused(
    line: bytes, version: str
) -> None:
    server = Failing(line)
    runner, host = await Server(server).start()
    stop = asyncio.Event()
    feeding = asyncio.create_task(watch(host, stop))
    async with asyncio.timeout(15):
        while len(server.versions) < 2 and not feeding.done():  # noqa: ASYNC110 - it is the server's
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(feeding, 10)
    assert server.versions == ["1", version]
    await runner.cleanup()


async def test_a_kind_that_is_gone_ends_the_feed_with_its_reason() -> None:
    server = Server(Failing(error(410) + b"\n"))
    server.lists = 1
    runner, host = await server.start()
    others = asyncio.create_task(asyncio.sleep(3600))
    with pytest.raises(FeedEndedError, match="no such kind"):
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
