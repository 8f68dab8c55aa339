"""Our gateway: what the agent does with a RoutingTable, in this process, and an Envoy of its own."""

from base64 import b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from benchmarks.gateway.accounting import resident_bytes
from benchmarks.gateway.bodies import API_KEY
from benchmarks.gateway.envoy import Envoy
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.ads import AdsServer
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.keys import SecretRef, read_keys
from tomoul.gateway.compile.names import LISTENER
from tomoul.gateway.compile.resources import Endpoint, GatewayOptions, PoolKey
from tomoul.gateway.compile.tenants import known_tenants
from tomoul.plan.envoy_bootstrap import envoy_bootstrap

REGIONS = ("ap-south", "eu-west", "sa-east", "us-east", "us-west")
REGION = "eu-west"
NAMESPACE = "bench"
_ACCEPT_SECONDS = 60.0
_TENANTS = [f"tenant-{number:04}" for number in range(1000)]
# All are counted, and none is reached.
_LIMITS = {
    "requestsPerMinute": 10_000_000,
    "tokensPerMinute": 2_000_000_000,
    "concurrentRequests": 1_000_000,
    "maxOutputTokens": 10_000_000,
}


def model_ids(count: int) -> list[str]:
    """Ids of `count` models."""
    return [f"bench/model-{number:05}" for number in range(count)]


def service_of(model_id: str) -> str:
    """Name of the Service behind a model."""
    return model_id.replace("/", "-")


def routing_table(count: int, engine_port: int, changes: int = 0) -> RoutingTable:
    """`count` models, each in all regions, with a salt, fallbacks and fields to remove; `changes` alters the first."""

    def route(number: int, model_id: str) -> dict[str, Any]:
        return {
            "id": model_id,
            "aliases": [f"{model_id}-latest"],
            "ownedBy": "bench",
            "created": 1760000000 + (changes if number == 0 else 0),
            "capabilities": {"tools": True, "structuredOutput": True, "jsonMode": True},
            "regions": REGIONS,
            "fallback": [region for region in REGIONS if region != REGION],
            "cache": {"mode": "Tenant", "noStore": "Isolated", "saltField": "cache_salt"},
            "removeFields": ["kv_transfer_params", "priority"],
            "pools": [{"name": "default", "namespace": NAMESPACE, "service": service_of(model_id), "port": 8000}],
        }

    return RoutingTable.model_validate(
        {
            "metadata": {"name": REGION, "generation": 1 + changes},
            "spec": {
                "region": REGION,
                "knownRegions": REGIONS,
                "remoteGateways": [
                    {"region": region, "url": f"http://127.0.0.1:{engine_port}"}
                    for region in REGIONS
                    if region != REGION
                ],
                "models": [route(*each) for each in enumerate(model_ids(count))],
                "auth": "Required",
                "tenants": [
                    {"namespace": NAMESPACE, "name": name, "secretName": name, "limits": _LIMITS} for name in _TENANTS
                ],
            },
        }
    )


class Gateway:
    """Serves `models` models; every pool has the fake engine as its one endpoint."""

    def __init__(self, models: int, engine_ports: Sequence[int], folder: Path) -> None:
        self.name = f"tomoul, {models:,} models"
        self.models = model_ids(models)
        self.port = 0
        self._name, self._folder = f"tomoul-{models}", folder
        self._engine_ports = engine_ports
        self._options = GatewayOptions(REGION, "127.0.0.1", 0, salt_key=b"a key for benchmarks")
        self._ads = AdsServer(folder / f"{self._name}.ads")
        self._bootstrap = envoy_bootstrap(
            ads_socket=str(folder / f"{self._name}.ads"),
            admin_socket=str(folder / f"{self._name}.admin"),
            metrics_port=0,
        )
        self._table = routing_table(models, engine_ports[0])
        # The calls' key is the last tenant's.
        self._keys = {
            SecretRef(NAMESPACE, name): read_keys(name, {"key": b64encode(key.encode()).decode()})
            for name, key in zip(_TENANTS, [*(name.ljust(40, "k") for name in _TENANTS[:-1]), API_KEY], strict=True)
        }
        self._endpoints = {
            PoolKey(NAMESPACE, service_of(model)): [Endpoint("127.0.0.1", engine_ports[0])] for model in self.models
        }

    async def __aenter__(self) -> Self:
        """Start and serve."""
        async with AsyncExitStack() as stack:
            await self._ads.start()
            stack.push_async_callback(self._ads.stop)
            self.envoy = Envoy(self._name, self._bootstrap, self._folder)
            stack.callback(self.envoy.stop)
            await self._publish()
            self.port = await self.envoy.port(LISTENER)
            self._running = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self._running.aclose()

    @property
    def resident_bytes(self) -> int:
        """Memory of Envoy now."""
        return resident_bytes(self.envoy.pid)

    async def change_endpoint(self, step: int) -> float:
        """Move the first model's pool to its other endpoint; milliseconds until Envoy has accepted it."""
        port = self._engine_ports[step % len(self._engine_ports)]
        self._endpoints[PoolKey(NAMESPACE, service_of(self.models[0]))] = [Endpoint("127.0.0.1", port)]
        return await self._publish()

    async def change_model(self, step: int) -> float:
        """Change what is known of the first model; milliseconds until Envoy has accepted it."""
        begin = perf_counter()
        self._table = routing_table(len(self.models), self._engine_ports[0], step)
        reading = (perf_counter() - begin) * 1000  # the agent reads and validates the table too
        return reading + await self._publish()

    async def _publish(self) -> float:
        begin = perf_counter()
        tenants = known_tenants([self._table], self._keys)
        version = self._ads.publish(compile_gateway([self._table], self._endpoints, self._options, tenants))
        acknowledgement = await self._ads.accepted(version, _ACCEPT_SECONDS)
        if not acknowledgement.ok:
            raise RuntimeError(f"Envoy refused the configuration: {acknowledgement.message}")
        return (perf_counter() - begin) * 1000
