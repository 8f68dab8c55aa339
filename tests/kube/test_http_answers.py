"""The client against answers that a real API server gives only on bad days."""

import asyncio
import base64
import json
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from tomoul.controller.scaling.certificate import CERTIFICATE, PRIVATE_KEY, certificate_secret
from tomoul.kube import http_client
from tomoul.kube.client import WatchEvent
from tomoul.kube.errors import Gone, Invalid, Throttled, Unavailable
from tomoul.kube.http_client import LONGEST_RETRY_AFTER, HttpKubeClient
from tomoul.kube.resources import NODES
from tomoul.plan.world import Key

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[HttpKubeClient]:
    """A client of a server that answers everything with `handler`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with HttpKubeClient(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")) as client:
            yield client
    finally:
        await runner.cleanup()


def streaming(*chunks: bytes) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return handler


def refusing(status: int, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "message": "not now"}, status=status, headers=headers)

    return handler


async def watched(client: HttpKubeClient) -> list[WatchEvent]:
    return [event async for event in client.watch(NODES, resource_version="1")]


def line(kind: str, **content: object) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


async def test_events_are_whole_however_the_connection_cuts_them_and_whatever_their_size() -> None:
    text = line("ADDED", name="é" * 3_000_000) + line("MODIFIED", name="b")
    async with answering(streaming(text[:10], text[10:2_000_001], text[2_000_001:])) as client:
        events = await watched(client)
    assert [(event.type, len(event.object["name"])) for event in events] == [("ADDED", 3_000_000), ("MODIFIED", 1)]


async def test_an_expired_version_is_gone_whether_as_an_event_or_as_an_answer() -> None:
    async with answering(streaming(line("ERROR", code=410, message="too old"))) as client:
        with pytest.raises(Gone, match="too old"):
            await watched(client)
    async with answering(refusing(410)) as client:
        with pytest.raises(Gone, match="not now"):
            await watched(client)


async def test_a_server_that_is_busy_says_how_long_to_wait() -> None:
    async with answering(refusing(429, **{"Retry-After": "7"})) as client:
        with pytest.raises(Throttled) as caught:
            await client.list(NODES)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [401, 500, 503, 504])
async def test_a_fault_of_the_server_or_of_a_token_is_worth_another_try(status: int) -> None:
    async with answering(refusing(status)) as client:
        with pytest.raises(Unavailable, match=f"{status}: GET /api/v1/nodes: not now"):
            await client.list(NODES)


async def test_a_server_that_asks_for_more_patience_than_anybody_has_is_asked_again_after_a_minute() -> None:
    async with answering(refusing(503, **{"Retry-After": "86400"})) as client:
        with pytest.raises(Unavailable) as caught:
            await client.list(NODES)
    assert caught.value.retry_after == LONGEST_RETRY_AFTER == 60


@pytest.mark.parametrize("status", [405, 413, 415])
async def test_what_would_be_refused_again_is_invalid(status: int) -> None:
    async with answering(refusing(status)) as client:
        with pytest.raises(Invalid, match=f"{status}: GET /api/v1/nodes: not now"):
            await client.list(NODES)


@pytest.mark.parametrize("body", [b"<html>We are back soon.</html>", b"", b"[]", b'"ok"'])
async def test_a_success_that_is_no_object_is_the_answer_of_somebody_else_and_worth_another_try(body: bytes) -> None:
    """As of a load balancer in front of the API server, which has a page of its own."""
    async with answering(streaming(body)) as client:
        with pytest.raises(Unavailable, match="GET /api/v1/nodes: no object"):
            await client.list(NODES)
    async with answering(streaming(body + b"\n")) as client:
        with pytest.raises(Unavailable, match="GET /api/v1/nodes: no event"):
            await watched(client)


async def test_of_an_answer_that_cannot_be_read_only_a_page_is_quoted_as_all_else_may_be_a_part_of_a_secret() -> None:
    async with answering(streaming(b"<html>We are back soon.</html>\n")) as client:
        with pytest.raises(Unavailable, match="We are back soon"):
            await client.list(NODES)
        with pytest.raises(Unavailable, match="We are back soon"):
            await watched(client)
    async with answering(streaming(b'"data": {"key": "c2stc2VjcmV0"}\n')) as client:
        with pytest.raises(Unavailable, match="32 bytes") as list_error:
            await client.list(NODES)
        with pytest.raises(Unavailable, match="31 bytes") as watch_error:
            await watched(client)
    assert "c2st" not in f"{list_error.value}{watch_error.value}"


async def test_a_list_without_items_is_empty() -> None:
    body = {"items": None, "metadata": {"resourceVersion": "7"}}
    async with answering(streaming(json.dumps(body).encode())) as client:
        assert (await client.list(NODES)).items == []


async def test_a_watch_that_never_gets_further_than_a_line_ends_by_our_own_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server sends a byte now and then, so that no connection is silent, and never ends the watch."""
    monkeypatch.setattr(http_client, "WATCH_GRACE", 0.0)

    async def dribbles(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    async with answering(dribbles) as client, asyncio.timeout(20):
        assert [event async for event in client.watch(NODES, resource_version="1", timeout_seconds=1)] == []


async def test_a_watch_whose_connection_breaks_just_ends() -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line("ADDED", name="a"))
        await asyncio.sleep(0.1)
        assert request.transport is not None
        request.transport.abort()
        return response

    async with answering(breaks) as client:
        assert [event.type for event in await watched(client)] == ["ADDED"]


async def test_a_proxy_that_answers_in_html_is_quoted() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")

    async with answering(handler) as client:
        with pytest.raises(Unavailable, match="bad gateway"):
            await client.list(NODES)


class Metadata(dict[str, str]):
    """One that tells when it is gone."""


async def test_a_page_of_a_list_is_not_in_memory_beside_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[weakref.ref[Metadata]] = []

    async def call(_self: HttpKubeClient, *_request: object) -> dict[str, object]:
        assert [each for each in told if each() is not None] == []
        metadata = Metadata(name=f"node-{len(told)}")
        told.append(weakref.ref(metadata))
        more = {"resourceVersion": "1", "continue": "more" if len(told) < 3 else ""}
        return {"items": [{"metadata": metadata}], "metadata": more}

    monkeypatch.setattr(HttpKubeClient, "_call", call)
    async with HttpKubeClient(Configuration(host="http://nowhere")) as client:
        names = []
        async for page in client.pages(NODES):
            names += [item["metadata"]["name"] for item in page.items]
            del page
    assert names == ["node-0", "node-1", "node-2"]


async def test_an_api_server_with_another_authority_is_known_once_the_kubelet_has_written_it(tmp_path: Path) -> None:
    def server(name: str) -> tuple[ssl.SSLContext, bytes]:
        data = certificate_secret(Key("", ""), name, datetime.now(UTC), {})["data"]
        for file in (CERTIFICATE, PRIVATE_KEY):
            (tmp_path / file).write_bytes(base64.b64decode(data[file]))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / PRIVATE_KEY)
        return context, (tmp_path / CERTIFICATE).read_bytes()

    async def empty(request: web.Request) -> web.StreamResponse:
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})

    application, authority = web.Application(), tmp_path / "ca.crt"
    application.router.add_route("*", "/{path:.*}", empty)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    tls, before = server("before")
    authority.write_bytes(before)
    site = web.TCPSite(runner, "localhost", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    configuration = Configuration(host=f"https://localhost:{port}")
    configuration.ssl_ca_cert, configuration.tls_server_name = str(authority), "before"
    try:
        async with HttpKubeClient(configuration) as client:
            await client.list(NODES)
            await site.stop()
            await client._connections().close()  # as after a while without a call
            client._session = None
            tls, after = server("after")
            configuration.tls_server_name = "after"
            await web.TCPSite(runner, "localhost", port, ssl_context=tls).start()
            for _ in range(2):
                with pytest.raises(Unavailable, match="ertificate"):
                    await client.list(NODES)
            authority.write_bytes(after)
            with pytest.raises(Unavailable, match="ertificate"):
                await client.list(NODES)
            await client.list(NODES)
    finally:
        await runner.cleanup()
