"""Feed: kopf's watches put what they hear into Stores: of what people write. All else comes by `reflector.py`.

Only `on.event` handlers, which make kopf write nothing; they put facts into a Store, whose listener enqueues. All
settings are given here, so that no default of kopf's can write either.

kopf's tasks are started and ended here, and not by `kopf.operator`: that one, when a part of kopf fails, first cancels
every task in the process, ours among them, and waits for them all, which may be for ever; and of its credentials it
does not notice the end at all.
"""

import asyncio
import itertools
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, cast

import aiohttp
import kopf

from tomoul.kube.errors import KubeError, Unavailable
from tomoul.kube.http_client import ENCODING, PAGE, HttpKubeClient, event_of, retry_after, trust_anew
from tomoul.kube.reflector import FIRST_DELAY, LONGEST_DELAY, SETTLED, WATCHED
from tomoul.kube.store import Store

logger = logging.getLogger(__name__)

BACKOFFS = (1, 1, 2, 3, 5, 8, 13, 21, 30)
RELOGIN_DELAY = 1.0
SILENCE_SECONDS = 80.0
"""A watch that is silent for longer, although bookmarks come about once a minute, is opened anew."""
CREDENTIALS, STOPPER, WATCHES = "credentials retriever", "stop-flag checker", "watcher for "
"""kopf's names of its task that logs in, of the one that ends when all shall, and how those of its watches begin."""
LIST_ANEW = b'{"type": "ERROR", "object": {"code": 410}}\n'
"""The one error of a watch at which kopf goes on, by a list."""
END_SECONDS = 10.0
"""How long kopf's tasks may take to end."""


class FeedEndedError(Exception):
    """A part of kopf has ended by itself: of some kind nothing more would be heard. The process has to end."""


async def feed(
    client: HttpKubeClient,
    stores: Iterable[Store[Any]],
    *,
    started: asyncio.Event,
    stop: asyncio.Event,
    on_bug: Callable[[Exception], None],
) -> None:
    """Watch until `stop` is set or a signal comes. `on_bug` hears what a Store or its listener raised.

    kopf takes SIGTERM and SIGINT for itself until `started` is set. Raises FeedEndedError.
    """
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    _configure(settings)
    kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(_login(client))
    for store in stores:
        resource = store.resource
        if store.selector:
            # As a tuple: of a string with slashes kopf makes a selector that nothing matches.
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = store.selector
        handler = _handler(store, on_bug)
        kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=registry)(handler)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings,
        standalone=True,
        clusterwide=True,
        ready_flag=started,
        stop_flag=stop,
    )
    # Not among those that it returns, which end it; gone already if it could not read what it needs.
    credentials = [task for task in asyncio.all_tasks() if task.get_name() == CREDENTIALS]
    ended: set[asyncio.Task[Any]] = set()
    try:
        if credentials:
            ended, _ = await asyncio.wait([*tasks, *credentials], return_when=asyncio.FIRST_COMPLETED)
    finally:
        # When one watch fails kopf leaves the others behind, which must not outlive the session that they share.
        await _end([task for task in asyncio.all_tasks() if task.get_name().startswith(WATCHES)])
        done = await _end(tasks)
        errors = {task.get_name(): task.exception() for task in done | ended if not task.cancelled()}
    names = {task.get_name() for task in ended} or {CREDENTIALS}
    if STOPPER not in names:
        named = ", ".join(sorted(names))
        error = next((found for name in names if (found := errors.get(name))), None)
        raise FeedEndedError(f"kopf has ended its {named}: {error!r}") from error


async def _end(tasks: Collection["asyncio.Task[Any]"]) -> set["asyncio.Task[Any]"]:
    """Cancel tasks and wait for their end; those that have ended."""
    for task in tasks:
        task.cancel()
    return (await asyncio.wait(tasks, timeout=END_SECONDS))[0] if tasks else set()


def _configure(settings: kopf.OperatorSettings) -> None:
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it tells of every event
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # the kinds are known, and neither namespaces nor CRDs need to be watched
    # kopf takes its default finalizer, which all its operators share, away from objects where it finds no use for it.
    settings.persistence.finalizer = "tomoul.ai/never-set"
    settings.persistence.diffbase_storage = _NothingKept()
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = _Backoffs()
    settings.watching.chunk_size = PAGE
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.execution.max_workers = 1
    settings.queueing.idle_timeout = 0.2  # each object that was heard of has a task of its own for so long


def _handler(store: Store[Any], on_bug: Callable[[Exception], None]) -> Callable[..., Any]:
    async def heard(event: Mapping[str, Any], **_unused: object) -> None:
        try:
            if event["type"] == "DELETED":
                store.remove(event["object"])
            else:
                store.put(event["object"])
        except Exception as error:  # kopf would log it and go on, and the Store would be wrong from here on
            on_bug(error)

    return heard


def _login(client: HttpKubeClient) -> Callable[..., Any]:
    logins = itertools.count()

    async def login(**_unused: object) -> kopf.AiohttpSession:
        if next(logins):
            await asyncio.sleep(RELOGIN_DELAY)
        configuration = client.configuration
        tls = kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        ).as_ssl_context()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            proxy=configuration.proxy,
            headers=ENCODING,
            middlewares=(_lasting, _paced(), _authorized(client), _trusting(client, tls)),
        )
        return kopf.AiohttpSession(
            server=configuration.host,
            aiohttp_session=session,
            expiration=datetime.now(UTC) + timedelta(days=3650),
        )

    return login


def _authorized(client: HttpKubeClient) -> aiohttp.ClientMiddlewareType:
    """Gives each request the token of now, and sends it again after what is no answer of the API server, or not yet.

    At a 401 kopf would close the session under all watches, not all of which it opens anew: it would hear nothing more.
    At a 429 it would wait for as long as it is told, were it a day, and end if it is told a date. A page of a load
    balancer's, which says 200, would end it.
    """

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        for delay in _Backoffs():
            if credentials := await client.configuration.get_api_key_with_prefix("BearerToken"):
                request.headers["Authorization"] = credentials
            response = await handler(request)
            again = response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
            if not again and response.content_type != "text/html":
                break
            wait, what = max(delay, retry_after(response) or 0.0), f"{response.status} ({response.content_type})"
            logger.warning("%s: %s %s: again in %s s", what, request.method, request.url.path, wait)
            response.close()
            await asyncio.sleep(wait)
        return response

    return send


def _trusting(client: HttpKubeClient, tls: ssl.SSLContext) -> aiohttp.ClientMiddlewareType:
    """Reads the API server's authority again where it has another one than before."""

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except aiohttp.ClientConnectorCertificateError:
            trust_anew(tls, client.configuration)
            raise

    return send


def _paced() -> aiohttp.ClientMiddlewareType:
    """Holds a watch back whose predecessor has only just been opened, and ended: kopf opens the next one at once."""
    opened: dict[str, tuple[float, float]] = {}

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        path, now = request.url.path, asyncio.get_running_loop().time
        if "watch" in request.url.query:
            at, delay = opened.get(path, (-math.inf, FIRST_DELAY))
            lasted = now() - at
            if lasted < WATCHED:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
            elif lasted >= SETTLED:
                delay = FIRST_DELAY
            opened[path] = (now(), delay)
        return await handler(request)

    return send


async def _lasting(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps from kopf what in a watch would end it for good: errors other than 410, and what is no event."""
    response = await handler(request)
    if "watch" in request.url.query and response.ok:
        response.content = cast(aiohttp.StreamReader, _Events(request.url.path, response.content))
    return response


class _Events:
    """The content of a watch, in whole lines. It ends before what another try may get past."""

    def __init__(self, path: str, content: aiohttp.StreamReader) -> None:
        self._path, self._content = path, content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """As kopf asks for it."""
        tail = b""
        async for chunk in self._content.iter_chunked(size):
            *lines, tail = (tail + chunk).split(b"\n")
            for line in lines:
                try:
                    event_of(self._path, line)
                except KubeError as error:
                    logger.warning("%s: the watch ends: %s", self._path, error)
                    if not isinstance(error, Unavailable):
                        yield LIST_ANEW
                    return
                yield line + b"\n"


class _Backoffs:
    """Delays between attempts, without an end: an API server that is away must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        yield from BACKOFFS
        while True:
            yield BACKOFFS[-1]


class _NothingKept(kopf.DiffBaseStorage):
    """kopf's memory of objects, which only handlers of changes would need; copying every object for it takes time."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Nothing of the object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Nothing was kept."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""
