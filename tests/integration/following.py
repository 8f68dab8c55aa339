"""A gateway's eyes on a real API server: what it would serve at every moment, and what it has lost of that."""

import asyncio
import threading

from tests.controlplane.harness import ControlPlane
from tomoul.api.meta import LABEL_REGION
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.report import Reporter
from tomoul.gateway.agent.state import KnownTable, TableReader
from tomoul.gateway.compile.compiler import merged_models
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.reflector import reflect
from tomoul.kube.resources import ROUTING_TABLES
from tomoul.kube.store import Change, Store


class Following:
    """Agents of one region's gateways that accept whatever they see, each table by itself, in a thread of their own."""

    def __init__(self, control_plane: ControlPlane, region: str, pods: list[str]) -> None:
        self._kubeconfig = str(control_plane.kubeconfig)
        self._region = region
        self._pods = pods
        self._tables: dict[str, RoutingTable] = {}
        self._stop: asyncio.Event | None = None
        self.served: frozenset[str] = frozenset()
        """Ids that they serve now."""
        self.lost: set[str] = set()
        """Ids that they have served at some time, and not at a later one."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._run()])
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        async with await HttpKubeClient.connect(self._kubeconfig) as client:
            tasks = [asyncio.ensure_future(self._follow(client, pod)) for pod in self._pods]
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, client: HttpKubeClient, pod: str) -> None:
        def see(change: Change[KnownTable]) -> None:
            if change.new is not None and change.new.table is not None:
                self._see(pod, change.new.table)
                reporter.accepted({change.key.name: change.new.version})

        selector = f"{LABEL_REGION}={self._region}"
        store: Store[KnownTable] = Store(ROUTING_TABLES, TableReader(pod), selector=selector, listener=see)
        reporter = Reporter(client, pod, store)
        await asyncio.gather(reflect(client, store), reporter.run())

    def _see(self, pod: str, table: RoutingTable) -> None:
        """One that is deleted is served on as it was."""
        if pod == self._pods[0]:
            self._tables[table.metadata.name] = table
            served = frozenset(route.id for route in merged_models(tuple(self._tables.values())))
            self.lost |= self.served - served
            self.served = served
