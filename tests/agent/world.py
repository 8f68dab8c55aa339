"""A gateway and its cluster: a real Envoy with agents that come and go, and the API server."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from kubernetes.aio.client import Configuration

from tests.agent.envoy import Envoy, eventually
from tests.agent.http_calls import Answer, get, http_server, own_address
from tests.agent.tables import slice_manifest, table_manifest
from tests.controlplane.harness import ControlPlane
from tomoul.gateway.agent.run import Agent, AgentOptions
from tomoul.gateway.compile.resources import Endpoint, GatewayOptions
from tomoul.kube.http_client import HttpKubeClient
from tomoul.plan.envoy_bootstrap import envoy_bootstrap

TABLES = "/apis/tomoul.ai/v1alpha1/routingtables"


COMPLETION = json.dumps({"id": "x", "object": "chat.completion", "model": "acme/phi", "choices": []})


_numbers = itertools.count(1)


class Gateway:
    """A gateway pod: a folder for its sockets and its snapshot, an Envoy, and agents that come and go."""

    def __init__(self, folder: Path, region: str, pod: str = "gateway-0") -> None:
        self.folder, self.region, self.pod = folder, region, pod
        self.snapshots = folder / "snapshot"
        self.envoy = Envoy(
            folder,
            envoy_bootstrap(
                ads_socket=str(folder / "ads.sock"), admin_socket=str(folder / "admin.sock"), metrics_port=0
            ),
        )

    def options(self) -> AgentOptions:
        return AgentOptions(
            gateway=GatewayOptions(
                region=self.region, listen_address="127.0.0.1", listen_port=0, salt_key=b"a key for tests"
            ),
            pod_name=self.pod,
            socket=self.folder / "ads.sock",
            snapshot_dir=self.snapshots,
            health_port=0,
            health_address="127.0.0.1",
        )

    @contextlib.asynccontextmanager
    async def agent(
        self, kubeconfig: Path | None, client_type: type[HttpKubeClient] = HttpKubeClient
    ) -> AsyncIterator[Agent]:
        """An agent; without a kubeconfig, one whose API server does not answer."""
        client = client_type(Configuration(host="http://127.0.0.1:1"))
        if kubeconfig:
            client = await client_type.connect(str(kubeconfig))
        async with client:
            agent, stop = Agent(self.options(), client), asyncio.Event()
            task = asyncio.create_task(agent.run(stop))
            try:
                yield agent
            finally:
                stop.set()
                await task

    async def call(self, model: str = "acme/phi", key: str = "") -> Answer:
        port = await self.envoy.port("gateway")
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]})
        headers = f"Authorization: Bearer {key}\r\n" if key else ""
        return await get(port, "/v1/chat/completions", "POST", body, headers)

    async def status_becomes(self, status: int, model: str = "acme/phi") -> Answer:
        async def check() -> Answer | None:
            answer = await self.call(model)
            assert answer.status == status, answer
            return answer

        return await eventually(check)


class Cluster:
    """The API server with the objects of one region of this test's own."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        self.region = f"agent-{next(_numbers)}"
        self.kubeconfig = control_plane.kubeconfig

    def put_table(self, *models: str, change: Any = None) -> int:
        """The table's generation."""
        manifest = table_manifest(self.region, models, namespace=self.namespace)
        if change:
            change(manifest["spec"])
        written = self.control_plane.api.apply(f"{TABLES}/{self.region}", manifest)
        return int(written["metadata"]["generation"])

    def put_slice(self, *engines: Endpoint, name: str = "phi-1") -> None:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices/{name}"
        self.control_plane.api.apply(path, slice_manifest(self.namespace, name, self.region, *engines))

    def entry(self, pod: str = "gateway-0") -> dict[str, Any]:
        status = self.control_plane.api.get(f"{TABLES}/{self.region}").get("status", {})
        return next((entry for entry in status.get("gateways", []) if entry["name"] == pod), {})

    async def accepts(self, generation: int, pod: str = "gateway-0") -> dict[str, Any]:
        def check() -> dict[str, Any] | None:
            entry = self.entry(pod)
            assert entry.get("acceptedGeneration") == generation, entry
            return entry

        return await eventually(check)

    async def lacks(self, *services: str) -> dict[str, Any]:
        """The entry, once it names the pools of just these Services of which its Envoy has no endpoint."""

        def check() -> dict[str, Any]:
            entry = self.entry()
            assert entry["poolsWithoutEndpoints"] == [f"{self.namespace}/{service}" for service in services], entry
            return entry

        return await eventually(check)


@contextlib.asynccontextmanager
async def engine(answer: str = COMPLETION) -> AsyncIterator[Endpoint]:
    address = own_address()
    async with http_server(answer, address, "Content-Type: application/json\r\n") as port:
        yield Endpoint(address, port)


def start_again(control_plane: ControlPlane) -> None:
    """In a thread, so that the agent meets the API server while it starts."""
    control_plane.start_apiserver()
    control_plane.api.close()
