"""Without operator and API server calls go on, and gateways that start in that time serve what they served last."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.agent.envoy import eventually, running_envoy, short_folder
from tests.agent.world import Cluster, Gateway, engine
from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane
from tests.faults.conftest import ALL
from tomoul.gateway.agent.snapshot import load_snapshot
from tomoul.gateway.compile.resources import Endpoint

SECONDS = 600 if ALL else 12


@pytest.fixture
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of its own: controllers and scheduler take their time after an outage, and other tests wait for them."""
    yield from run_control_plane(tmp_path_factory)


@dataclass
class Prober:
    """Calls a gateway again and again; `failed` holds what was not answered as it should be."""

    gateway: Gateway
    calls: int = 0
    failed: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            self.calls += 1
            try:
                answer = await self.gateway.call()
                if answer.status != 200:
                    self.failed.append(f"{answer.status}: {answer.text}")
            except OSError as error:
                self.failed.append(str(error))
            await asyncio.sleep(0.02)


async def test_no_call_fails_while_operator_and_api_server_are_away_and_a_gateway_that_is_killed_comes_back(
    control_plane: ControlPlane, namespace: str
) -> None:
    cluster = Cluster(control_plane, namespace)
    with short_folder() as one, short_folder() as two:
        steady, killed = Gateway(one, cluster.region, "gateway-0"), Gateway(two, cluster.region, "gateway-1")
        async with engine() as address, running_envoy(steady.envoy), running_envoy(killed.envoy):
            generation = cluster.put_table("acme/phi")
            cluster.put_slice(address)
            async with steady.agent(cluster.kubeconfig):
                async with killed.agent(cluster.kubeconfig):
                    for gateway in (steady, killed):
                        await cluster.accepts(generation, gateway.pod)
                        await gateway.status_becomes(200)
                    await eventually(lambda: saved(killed) == [address])
                    control_plane.stop_apiserver()
                    control_plane.api.close()
                try:
                    await outage(steady, killed, cluster)
                finally:
                    await asyncio.to_thread(start, control_plane)
            control_plane.api.delete(f"/apis/tomoul.ai/v1alpha1/routingtables/{cluster.region}")


def start(control_plane: ControlPlane) -> None:
    control_plane.start_apiserver()
    control_plane.api.close()  # this thread's connection


def saved(gateway: Gateway) -> list[Endpoint]:
    """Endpoints in the gateway's snapshot."""
    state = load_snapshot(gateway.snapshots, gateway.region)
    return [endpoint for found in (state.endpoints.values() if state else ()) for endpoint in found]


async def outage(steady: Gateway, killed: Gateway, cluster: Cluster) -> None:
    """The agent of `killed` has ended, and its Envoy is killed; both come back and find nobody."""
    prober = Prober(steady)
    probing = asyncio.create_task(prober.run())
    began = time.monotonic()
    await killed.envoy.stop()
    await killed.envoy.start()
    async with killed.agent(cluster.kubeconfig):
        await killed.status_becomes(200)
        again = Prober(killed)
        probing_again = asyncio.create_task(again.run())
        await asyncio.sleep(SECONDS - (time.monotonic() - began))
        for task in (probing, probing_again):
            task.cancel()
        await asyncio.wait([probing, probing_again])
    assert prober.failed == []
    assert again.failed == []
    assert prober.calls > SECONDS * 5, "fewer calls prove little"
