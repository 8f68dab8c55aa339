"""A proxy between a client and the API server that does to their calls what a test's Fault says."""

import asyncio
import json
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tests.faults.call import Call, call_of

Event = dict[str, Any]
_PASSED_ON = ("Authorization", "Content-Type", "Accept", "User-Agent")


@dataclass(frozen=True)
class Answer:
    """What the client is told."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Reset:
    """The connection breaks, without an answer."""


class Silence:
    """The connection stays, and nothing ever comes of it."""


RESET = Reset()
SILENCE = Silence()


def refusal(status: int, reason: str, retry_after: int | None = None) -> Answer:
    """A `Status` as the API server writes it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason}
    headers = (("Retry-After", str(retry_after)),) if retry_after is not None else ()
    return Answer(status, json.dumps({**body, "message": f"a test says {reason}"}).encode(), headers)


class Fault:
    """Nothing is wrong. Its methods run in the proxy's thread, one at a time."""

    def before(self, call: Call) -> Answer | Reset | Silence | None:
        """What the client gets while the API server hears nothing; None lets the call through."""
        return None

    def after(self, call: Call, answer: Answer) -> Answer | Reset:
        """What the client gets of the API server's answer."""
        return answer

    def event(self, call: Call, event: Event) -> Event | None:
        """What the client hears of an event, bookmarks included, of its watch `call`; None: nothing."""
        return event


class Proxy:
    """Listens on `port` of 127.0.0.1 while its `with` block lasts; `fault` may be replaced at any time."""

    def __init__(self, target: Path, folder: Path) -> None:
        """`target` is a kubeconfig whose server, CA and token are used; `folder` is where `kubeconfig` goes."""
        self._config = yaml.safe_load(target.read_text())
        self.kubeconfig = folder / f"proxied-{target.name}"
        self.fault = Fault()
        self.port = 0
        self.done: list[tuple[Call, int]] = []
        """Calls, watches apart, that the API server has answered, and the answers' status, whoever heard of them."""
        self.unanswered: list[Call] = []
        """Calls that the API server may have carried out, but ended before it said so."""
        self._watches: set[asyncio.Transport] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault proxy", daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        assert self._ready.wait(30), "the proxy did not start"
        config = json.loads(json.dumps(self._config))
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        self.kubeconfig.write_text(yaml.safe_dump(config))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        cluster = self._config["clusters"][0]["cluster"]
        self._server: str = cluster["server"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=0.1
        )  # none would mean for ever
        connector = TCPConnector(ssl=context, limit=0)
        async with ClientSession(connector=connector, timeout=ClientTimeout(), auto_decompress=False) as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            for transport in list(self._watches):
                transport.abort()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = call_of(request.method, request.path, request.query_string, body, request.content_type)
        verdict: web.StreamResponse | Answer | Reset | Silence | None = self.fault.before(call)
        if verdict is None:
            try:
                verdict = await self._forward(request, call)
            except (ClientError, OSError):
                self.unanswered.append(call)
                verdict = RESET
        if isinstance(verdict, web.StreamResponse):
            return verdict
        if isinstance(verdict, Silence):
            await asyncio.sleep(3600)  # the client gives it up before
        if isinstance(verdict, Reset | Silence):
            return _reset(request)
        return web.Response(status=verdict.status, body=verdict.body, headers=dict(verdict.headers))

    async def _forward(self, request: web.Request, call: Call) -> web.StreamResponse | Answer | Reset:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers["Accept-Encoding"] = "identity"
        url = f"{self._server}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=call.body or None) as found:
            if call.verb == "watch" and found.status == 200:
                return await self._watch(request, call, found.content)
            kept = tuple(
                (name, found.headers[name]) for name in ("Content-Type", "Retry-After") if name in found.headers
            )
            body = await found.read()
            self.done.append((call, found.status))
            return self.fault.after(call, Answer(found.status, body, kept))

    async def _watch(self, request: web.Request, call: Call, content: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._watches.add(transport)
        try:
            tail = b""
            async for chunk in content.iter_any():
                *lines, tail = (tail + chunk).split(b"\n")
                for line in lines:
                    if (event := self.fault.event(call, json.loads(line))) is not None:
                        await response.write(json.dumps(event).encode() + b"\n")
            await response.write_eof()
        except (ClientError, OSError):
            transport.abort()
        finally:
            self._watches.discard(transport)
        return response


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
