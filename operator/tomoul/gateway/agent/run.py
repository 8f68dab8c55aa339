"""The agent: watches, publishes, keeps the snapshot and reports, until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tomoul.api.meta import LABEL_REGION
from tomoul.gateway.agent.ads import AdsServer
from tomoul.gateway.agent.drain import DrainOptions, serve_drain
from tomoul.gateway.agent.metrics import AgentMetrics
from tomoul.gateway.agent.publisher import Publisher
from tomoul.gateway.agent.report import Reporter
from tomoul.gateway.agent.secret_watches import SecretWatches
from tomoul.gateway.agent.slices import PoolSlice, endpoints_by_pool, pool_slice
from tomoul.gateway.agent.snapshot import load_snapshot, save_snapshot
from tomoul.gateway.agent.state import GatewayState, KnownTable, TableReader, TableVersion
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.resources import EnvoyResources, GatewayOptions
from tomoul.gateway.compile.tenants import KnownTenant, known_tenants, secret_refs, tenant_problems
from tomoul.kube.client import KubeClient
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.probes import serve
from tomoul.kube.reflector import reflect
from tomoul.kube.resources import ENDPOINT_SLICES, ROUTING_TABLES
from tomoul.kube.store import Change, Store

logger = logging.getLogger(__name__)

# Endpoints may change many times a second; the disk is not asked to keep up.
SNAPSHOT_INTERVAL_SECONDS = 1.0
# After how long a snapshot that could not be saved is tried again at the latest.
LONGEST_SNAPSHOT_DELAY_SECONDS = 30.0


@dataclass(frozen=True)
class AgentOptions:
    """What an agent is started with."""

    gateway: GatewayOptions
    pod_name: str
    socket: Path
    """Where Envoy finds its ADS."""
    snapshot_dir: Path
    drain: DrainOptions | None = None
    """How Envoy is taken out of service; without them it is not. The agent's own end leaves Envoy in service."""
    health_port: int = 8081
    health_address: str = ""
    """Where the health port listens; empty means on all addresses of both families."""
    relist_seconds: float = 600.0


class Agent:
    """The parts of an agent, connected."""

    def __init__(self, options: AgentOptions, client: KubeClient) -> None:
        self._options = options
        self._client = client
        selector = f"{LABEL_REGION}={options.gateway.region}"
        self._tables = Store(
            ROUTING_TABLES, TableReader(options.pod_name), selector=selector, listener=self._table_changed
        )
        self._slices = Store(ENDPOINT_SLICES, pool_slice, selector=selector, listener=self._slice_changed)
        self._secrets = SecretWatches(client, lambda: self._publisher.changed(), relist_seconds=options.relist_seconds)
        self._rivals: frozenset[tuple[str, str]] = frozenset()
        self._ads = AdsServer(
            options.socket,
            lambda acknowledgement: self._publisher.acknowledged(acknowledgement),
            lambda: self._metrics.unanswered(),
        )
        self._publisher = Publisher(self._ads, self._compile, self._known, self._accepted, self._refused)
        self._reporter = Reporter(client, options.pod_name, self._tables, self._tables.put)
        self._metrics = AgentMetrics(self._ads, self._tables, self._slices)
        self._health_port = self._drain_port = 0
        self._unsaved: GatewayState | None = None
        self._save = asyncio.Event()

    @property
    def health_port(self) -> int:
        """Port of the health server, once it runs."""
        return self._health_port

    @property
    def drain_port(self) -> int:
        """Port of `/drain`, once it runs; 0 without."""
        return self._drain_port

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. A part that fails ends it with an ExceptionGroup."""
        # A part that fails ends the process, so that any answer at all says that this one is alive.
        checks = {"/healthz": lambda: "", "/readyz": self._not_ready}
        port, address = self._options.health_port, self._options.health_address
        async with (
            serve(port, checks, self._metrics.registry, address=address) as self._health_port,
            serve_drain(self._options.drain) if self._options.drain else nullcontext(0) as self._drain_port,
        ):
            await self._serve(stop)

    async def _serve(self, stop: asyncio.Event) -> None:
        try:
            await self._ads.start()
            if saved := load_snapshot(self._options.snapshot_dir, self._options.gateway.region):
                self._secrets.restore(saved.keys)
                self._publisher.restore(saved)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part) for part in self._parts()]
                await stop.wait()
                for task in tasks:
                    task.cancel()
            if self._save.is_set():
                self._save_snapshot()
        finally:
            await self._ads.stop()

    def _parts(self) -> tuple[Coroutine[None, None, None], ...]:
        relist, listed = self._options.relist_seconds, self._publisher.changed
        return (
            reflect(self._client, self._tables, relist_seconds=relist, on_listed=listed),
            reflect(self._client, self._slices, relist_seconds=relist, on_listed=listed),
            self._secrets.run(),
            self._publisher.run(),
            self._reporter.run(),
            self._save_snapshots(),
        )

    def _table_changed(self, change: Change[KnownTable]) -> None:
        known = change.new
        if known and known.problem and (change.old is None or change.old.version != known.version):
            logger.error("table %s: %s", change.key.name, known.problem)
            self._metrics.rejected()
            self._reporter.rejected({change.key.name: known.version}, known.problem)
        self._reporter.changed()
        self._publisher.changed()

    def _slice_changed(self, _change: Change[PoolSlice]) -> None:
        self._publisher.changed()

    def _not_ready(self) -> str:
        if not self._ads.connected:
            return "Envoy is not connected"
        return "" if self._ads.accepted_version else "Envoy has not accepted a configuration yet"

    def _known(self) -> GatewayState | None:
        if not (self._tables.synced and self._slices.synced):
            return None
        tables = {key.name: known.table for key, known in self._tables.items() if known.table is not None}
        self._secrets.follow(secret_refs([*tables.values()]))
        # Without all tables, and the keys of all tenants, a gateway that has never served would refuse calls of some.
        if len(tables) < len(self._tables.items()) and not self._publisher.published:
            return None
        if not (self._secrets.complete or (self._publisher.published and self._secrets.settled())):
            return None
        return GatewayState(tables, endpoints_by_pool(self._slices.values()), self._secrets.known)

    def _compile(self, state: GatewayState) -> EnvoyResources:
        tables = tuple(state.tables.values())
        return compile_gateway(tables, state.endpoints, self._options.gateway, known_tenants(tables, state.keys))

    def _accepted(self, state: GatewayState) -> None:
        tenants = known_tenants([*state.tables.values()], state.keys)
        self._tell_rivals(tenants)
        self._metrics.accepted(state.versions)
        self._reporter.accepted(state.versions, tenant_problems(tenants), state.without_endpoints)
        self._unsaved = state
        self._save.set()

    def _tell_rivals(self, tenants: Sequence[KnownTenant]) -> None:
        """Whose key somebody else has too is for who reads this log, not for that tenant to know."""
        rivals = frozenset((tenant.name, tenant.rival) for tenant in tenants if tenant.rival)
        for name, rival in sorted(rivals - self._rivals):
            logger.warning("Tenant %s has a key of Tenant %s, whose it stays", name, rival)
        self._rivals = rivals

    def _refused(self, versions: Mapping[str, TableVersion], message: str) -> None:
        self._metrics.rejected()
        self._reporter.rejected(versions, message)

    async def _save_snapshots(self) -> None:
        delay = SNAPSHOT_INTERVAL_SECONDS
        while True:
            await self._save.wait()
            self._save.clear()
            if await asyncio.to_thread(self._save_snapshot):
                delay = SNAPSHOT_INTERVAL_SECONDS
            else:
                delay = min(delay * 2, LONGEST_SNAPSHOT_DELAY_SECONDS)
                self._save.set()
            await asyncio.sleep(delay)

    def _save_snapshot(self) -> bool:
        """Whether it is saved."""
        assert self._unsaved is not None
        try:
            save_snapshot(self._options.snapshot_dir, self._options.gateway.region, self._unsaved)
        except OSError as error:
            logger.error("the snapshot is not saved: %s", error)
            return False
        return True


async def run_agent(options: AgentOptions, kubeconfig: str | None = None) -> None:
    """Run an agent until SIGTERM or SIGINT. Raises `ConfigException` where no API server is configured."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await HttpKubeClient.connect(kubeconfig) as client:
        await Agent(options, client).run(stop)
