"""The aggregated discovery service for the Envoy in the same pod, over a Unix socket."""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from tomoul.gateway.agent.configuration import Configuration, configuration
from tomoul.gateway.agent.messages import ResourceError, TypeUrl
from tomoul.gateway.agent.stream import EnvoyStream, Request, Response
from tomoul.gateway.agent.wire import METHOD, SERVICE, decode_request, encode_response
from tomoul.gateway.compile.resources import EnvoyResources

logger = logging.getLogger(__name__)

# sockaddr_un holds 108 bytes, the closing zero included.
_LONGEST_SOCKET_PATH = 107
_REMEMBERED = 64
# More than the 15 s for which Envoy may wait for a cluster's endpoints before it acknowledges the cluster.
ANSWER_SECONDS = 30.0
# Envoy's keep-alive is a ping every 30 s; by default gRPC ends a connection on which nothing but pings come.
_OPTIONS = (("grpc.http2.max_ping_strikes", 0),)


@dataclass(frozen=True)
class Acknowledgement:
    """What became of a published version; each version gets at most one."""

    version: int
    label: object
    """The label that the version was published with."""
    ok: bool
    type_url: str = ""
    """The kind of the refused resource."""
    message: str = ""
    """Why it was refused, in Envoy's words."""


def check_socket_path(path: Path) -> None:
    """Raises ValueError for a path that no Unix socket can have."""
    if len(str(path).encode()) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"socket path `{path}` is longer than {_LONGEST_SOCKET_PATH} bytes")


class AdsServer:
    """Brings every connected Envoy to the newest published version, and says what became of it.

    A version is accepted when every connected Envoy, and at least one, has acknowledged all of it. When one refuses
    it, all go back to the last accepted version. A version that is replaced before it is accepted is not acknowledged.
    One that does not answer is cut off, so that it comes back and is sent everything again.
    """

    def __init__(
        self,
        socket_path: Path,
        on_acknowledgement: Callable[[Acknowledgement], None] | None = None,
        on_unanswered: Callable[[], None] = lambda: None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`on_unanswered` is called for each Envoy that is cut off, having left something unanswered that long."""
        check_socket_path(socket_path)
        self._path = socket_path
        self._notify = on_acknowledgement
        self._on_unanswered = on_unanswered
        self._answer_seconds = answer_seconds
        self._server: grpc.aio.Server | None = None
        self._streams: dict[EnvoyStream, asyncio.Event] = {}
        self._identities = itertools.count(1)
        self._version = 0
        self._goal: Configuration | None = None
        """The newest version, unless it was refused."""
        self._accepted: Configuration | None = None
        self._recent: deque[Acknowledgement] = deque(maxlen=_REMEMBERED)
        self._waiting: list[tuple[int, asyncio.Future[Acknowledgement]]] = []

    @property
    def connected(self) -> int:
        """How many Envoys are connected."""
        return len(self._streams)

    @property
    def published_version(self) -> int:
        """The newest version, 0 before the first."""
        return self._version

    @property
    def accepted_version(self) -> int:
        """The newest accepted version, 0 before the first."""
        return self._accepted.version if self._accepted else 0

    async def start(self) -> None:
        """Listen. The socket is for this user and group only."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._server = grpc.aio.server(options=_OPTIONS)
        method = grpc.stream_stream_rpc_method_handler(self._stream, decode_request, encode_response)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()
        self._path.chmod(0o660)

    async def stop(self) -> None:
        """Close the socket and all streams. Envoys go on with what they have."""
        if self._server:
            await self._server.stop(grace=None)
            self._server = None

    def publish(self, resources: EnvoyResources, label: object = None) -> int:
        """Make `resources` what every Envoy should have; returns its version.

        A resource that Envoy's definitions do not allow refuses the version; nothing of it is sent.
        """
        self._version += 1
        try:
            goal = configuration(resources, self._version, label, self._goal or self._accepted)
        except ResourceError as error:
            logger.error("version %d is not sent: %s", self._version, error)
            self._acknowledge(Acknowledgement(self._version, label, False, error.type_url, str(error)))
            return self._version
        self._goal = goal
        self._advance()
        return self._version

    async def accepted(self, version: int, timeout: float) -> Acknowledgement:  # noqa: ASYNC109 - part of the contract
        """The first acknowledgement of `version` or a newer one. Raises TimeoutError after `timeout` seconds."""
        for known in self._recent:
            if known.version >= version:
                return known
        future: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, future))
        async with asyncio.timeout(timeout):
            return await future

    async def _stream(
        self, requests: AsyncIterator[Request], context: grpc.aio.ServicerContext[Request, Response]
    ) -> None:
        """One connected Envoy, until it goes or is cut off."""
        stream, wake = EnvoyStream(f"{next(self._identities)}", asyncio.get_running_loop().time), asyncio.Event()
        self._streams[stream] = wake
        reader = asyncio.create_task(self._read(stream, requests, wake))
        try:
            async with asyncio.timeout(None) as limit:
                while not reader.done():
                    target = self._goal or self._accepted
                    response = stream.next_response(target) if target else None
                    since = stream.silent_since
                    limit.reschedule(None if since is None else since + self._answer_seconds)
                    if response:
                        await context.write(response)  # may wait until Envoy reads
                    else:
                        await wake.wait()
                        wake.clear()
        except TimeoutError:
            logger.warning("Envoy has not answered for %g s; it is cut off, to be sent all again", self._answer_seconds)
            self._on_unanswered()
        finally:
            reader.cancel()
            del self._streams[stream]
            self._settle()  # nobody waits for it any more

    async def _read(self, stream: EnvoyStream, requests: AsyncIterator[Request], wake: asyncio.Event) -> None:
        try:
            async for request in requests:
                stream.receive(request)
                self._settle()
                wake.set()
        finally:
            wake.set()  # so that the answering side sees that the Envoy is gone

    def _advance(self) -> None:
        self._settle()
        for wake in self._streams.values():
            wake.set()

    def _settle(self) -> None:
        """Acknowledge the goal once all Envoys have it or one refuses it."""
        goal = self._goal
        if goal is None or goal is self._accepted:
            return
        for stream in self._streams:
            refusal = stream.refusal
            if refusal and refusal.version == goal.version:
                logger.error("version %d is refused: %s", goal.version, refusal.message)
                self._goal = self._accepted
                message = _with_whereabouts(refusal.type_url, refusal.message)
                self._acknowledge(Acknowledgement(goal.version, goal.label, False, refusal.type_url, message))
                self._advance()
                return
        if self._streams and all(stream.has(goal) for stream in self._streams):
            self._accepted = goal
            self._acknowledge(Acknowledgement(goal.version, goal.label, True))

    def _acknowledge(self, acknowledgement: Acknowledgement) -> None:
        self._recent.append(acknowledgement)
        done = [future for version, future in self._waiting if version <= acknowledgement.version]
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > acknowledgement.version]
        for future in done:
            if not future.done():
                future.set_result(acknowledgement)
        if self._notify:
            self._notify(acknowledgement)


def _with_whereabouts(type_url: str, message: str) -> str:
    """Envoy's reason, and where the filter's own is: a module has no way to give one to Envoy but its log."""
    if type_url != TypeUrl.EXTENSIONS:
        return message
    return (
        f"{message} (the reason is in the log of the gateway's Envoy, in a line with `tomoul: the document is refused`)"
    )
