"""Draining with a real Envoy and a real agent: what a pod's end does to calls."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from kubernetes.aio.client import Configuration

from tests.agent.envoy import Envoy, eventually, running_envoy, short_folder
from tests.agent.http_calls import Answer, get
from tests.agent.tables import routing_table
from tomoul.gateway.agent.drain import DrainOptions, drain
from tomoul.gateway.agent.run import Agent, AgentOptions
from tomoul.gateway.agent.snapshot import save_snapshot
from tomoul.gateway.agent.state import GatewayState
from tomoul.gateway.compile.resources import Endpoint, GatewayOptions, PoolKey
from tomoul.kube.http_client import HttpKubeClient
from tomoul.plan.envoy_bootstrap import envoy_bootstrap
from tomoul.plan.gateway import DRAIN_TOKEN_HEADER

CHAT = "/v1/chat/completions"
COMPLETION = json.dumps({"id": "x", "object": "chat.completion", "model": "acme/phi", "choices": []})
EVENT = 'data: {"id":"x","choices":[]}\n\n'
QUIET_SECONDS = 2.0
TOKEN = "a token for tests"
OWN = f"{DRAIN_TOKEN_HEADER}: {TOKEN}\r\n"


class Engine:
    """Answers at once; a stream is begun, and ends when the test lets it."""

    def __init__(self) -> None:
        self.streaming, self.finish = asyncio.Event(), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
            if json.loads(body).get("stream"):
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                writer.write(_chunk(EVENT))
                await writer.drain()
                self.streaming.set()
                await self.finish.wait()
                writer.write(_chunk("data: [DONE]\n\n") + b"0\r\n\r\n")
            else:
                head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                writer.write(f"{head}Content-Length: {len(COMPLETION)}\r\n\r\n{COMPLETION}".encode())
            await writer.drain()
        writer.close()


class Pod:
    """A gateway pod that serves `acme/phi`."""

    def __init__(self, envoy: Envoy, options: AgentOptions, engine: Engine) -> None:
        self.envoy, self.options, self.engine = envoy, options, engine
        self.port = 0

    @contextlib.asynccontextmanager
    async def agent(self, seconds: float = 30.0) -> AsyncIterator[Agent]:
        assert self.options.drain
        options = replace(self.options, drain=replace(self.options.drain, seconds=seconds))
        async with HttpKubeClient(Configuration(host="http://127.0.0.1:1")) as client:
            agent, stop = Agent(options, client), asyncio.Event()
            task = asyncio.create_task(agent.run(stop))
            try:
                self.port = await self.envoy.port("gateway")
                yield agent
            finally:
                stop.set()
                await task

    async def call(self) -> int:
        async with kept_connection(self.port) as connection:
            return (await connection.call())[0]

    async def stream(self) -> Answer:
        return await get(self.port, CHAT, "POST", _body(stream=True))

    async def ready(self) -> int:
        async with kept_connection(self.port) as connection:
            return (await connection.call("GET", "/-/ready", ""))[0]

    async def out_of_service(self) -> None:
        async def check() -> bool:
            return await self.ready() == 503

        await eventually(check)


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    engine = Engine()
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    with short_folder() as folder:
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        state = GatewayState({"eu-west": routing_table()}, {PoolKey("models", "phi"): (endpoint,)})
        save_snapshot(folder / "snapshot", "eu-west", state)
        admin_socket = folder / "admin.sock"
        options = AgentOptions(
            gateway=GatewayOptions(region="eu-west", listen_address="127.0.0.1", listen_port=0, salt_key=b"for tests"),
            pod_name="gateway-0",
            socket=folder / "ads.sock",
            snapshot_dir=folder / "snapshot",
            drain=DrainOptions(admin_socket, port=0, token=TOKEN, quiet_seconds=QUIET_SECONDS, address="127.0.0.1"),
            health_port=0,
            health_address="127.0.0.1",
        )
        bootstrap = envoy_bootstrap(ads_socket=str(options.socket), admin_socket=str(admin_socket), metrics_port=0)
        async with running_envoy(Envoy(folder, bootstrap)) as envoy:
            yield Pod(envoy, options, engine)
    server.close()


class KeptConnection:
    """One connection of an HTTP/1.1 client that wants to keep it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, method: str = "POST", path: str = CHAT, body: str | None = None) -> tuple[int, bool]:
        """Status, and whether the gateway asks to close."""
        body = _body() if body is None else body
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        _, _, length = head.partition("content-length:")
        await self._reader.readexactly(int(length.split()[0]) if length else 0)
        return int(head.split()[1]), "connection: close" in head

    async def is_closed(self) -> bool:
        return await self._reader.read() == b""

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def kept_connection(port: int) -> AsyncIterator[KeptConnection]:
    connection = KeptConnection(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield connection
    finally:
        connection.close()


async def test_a_kept_connection_gets_its_answer_and_is_closed_while_the_gateway_drains(pod: Pod) -> None:
    async with pod.agent() as agent, kept_connection(pod.port) as connection:
        assert await connection.call() == (200, False)
        assert await pod.ready() == 200
        drained = asyncio.create_task(get(agent.drain_port, "/drain", headers=OWN))
        await pod.out_of_service()
        assert await connection.call() == (200, True)
        assert await connection.is_closed(), "even if the client does not"
        assert await drained == Answer(200, "no calls are left\n")


@pytest.mark.parametrize("headers", ["", f"{DRAIN_TOKEN_HEADER}: \r\n", f"{DRAIN_TOKEN_HEADER}: \u00e4\r\n"])
async def test_only_the_pods_own_hook_drains_it(pod: Pod, headers: str) -> None:
    async with pod.agent() as agent:
        assert (await get(agent.drain_port, "/drain", headers=headers)).status == 403
        assert await pod.ready() == 200


async def test_draining_waits_for_the_stream_in_flight_and_answers_new_calls_until_it_ends(pod: Pod) -> None:
    async with pod.agent() as agent:
        stream = asyncio.create_task(pod.stream())
        await pod.engine.streaming.wait()
        drained = asyncio.create_task(get(agent.drain_port, "/drain", headers=OWN))
        await pod.out_of_service()
        for _ in range(20):
            await asyncio.wait([drained], timeout=QUIET_SECONDS / 8)
            assert not drained.done()
            assert await pod.call() == 200
        pod.engine.finish.set()
        answer = await stream
        assert answer.text.endswith("data: [DONE]\n\n")
        assert (await drained).text == "no calls are left\n"


async def test_draining_lasts_as_long_as_calls_come(pod: Pod) -> None:
    """A load balancer that has not noticed yet goes on sending calls, each of them too short to be seen running."""
    async with pod.agent() as agent:
        drained = asyncio.create_task(get(agent.drain_port, "/drain", headers=OWN))
        for _ in range(8):
            await asyncio.wait([drained], timeout=QUIET_SECONDS / 4)
            assert not drained.done()
            assert await pod.call() == 200
        assert (await drained).text == "no calls are left\n"


async def test_draining_ends_when_its_time_is_over_although_a_call_still_runs(pod: Pod) -> None:
    async with pod.agent(seconds=1.5) as agent:
        stream = asyncio.create_task(pod.stream())
        await pod.engine.streaming.wait()
        assert (await get(agent.drain_port, "/drain", headers=OWN)).text == "calls still ran after 1.5 s\n"
        pod.engine.finish.set()
        assert (await stream).status == 200


async def test_an_agent_that_restarts_leaves_envoy_in_service_and_ends_no_draining(pod: Pod) -> None:
    async with pod.agent():
        assert await pod.ready() == 200
    assert await pod.ready() == 200
    assert await pod.call() == 200
    async with pod.agent() as agent:
        assert (await get(agent.drain_port, "/drain", headers=OWN)).status == 200
    assert await pod.ready() == 503
    async with pod.agent():
        assert await pod.ready() == 503


async def test_draining_ends_at_once_where_envoy_is_gone(tmp_path: Path) -> None:
    assert (await drain(DrainOptions(tmp_path / "none.sock"))).startswith("Envoy is gone")


def _body(*, stream: bool = False) -> str:
    return json.dumps({"model": "acme/phi", "messages": [{}], "stream": stream})


def _chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()
