"""A real Envoy that serves compiled tables, started as a gateway pod starts it: bootstrap, ADS, compiler."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.gateway.tables import NAMESPACE
from tests.gateway.wire import receive
from tomoul.api.gatewaylimits import COMMENT_SECONDS, MAX_HELD_BYTES
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.ads import AdsServer
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.names import LISTENER
from tomoul.gateway.compile.resources import Endpoint, EnvoyResources, GatewayOptions, PoolKey
from tomoul.gateway.compile.tenants import Keys, known_tenants
from tomoul.gateway.filter.build import filter_folder
from tomoul.plan.envoy_bootstrap import MAX_HEAP_BYTES, MODULES_PATH, envoy_bootstrap

ENVOY = Path(sys.prefix) / "bin" / "envoy"
SALT_KEY = b"a key for tests"
MAX_BODY = 1024 * 1024
GATEWAYS = PoolKey("tomoul-system", "gateways")
"""The Service of the gateways of every region, for tables that name it."""
Result = TypeVar("Result")


def eventually(check: Callable[[], Result], within: float = 15.0) -> Result:
    """The first truthy result of `check`, tried until a deadline."""
    deadline, last = time.monotonic() + within, None
    while time.monotonic() < deadline:
        try:
            if result := check():
                return result
        except (AssertionError, OSError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {within} s; last: {last!r}")


class Listening(Protocol):
    """An engine on a loopback port."""

    @property
    def port(self) -> int: ...


class Loop:
    """An event loop in a thread, for the ADS server of synchronous tests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Gateway:
    """One region's gateway. `publish` before the first call."""

    def __init__(
        self,
        region: str = "eu-west",
        max_body_bytes: int = MAX_BODY,
        metrics_port: int = 0,
        comment_seconds: int = COMMENT_SECONDS,
        faults: bool = False,
        workers: int = 1,
        body_seconds: int = 300,
        listen_address: str = "127.0.0.1",
        max_heap_bytes: int = MAX_HEAP_BYTES,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        """With `faults` the filter has bugs that calls can ask for: `x-tomoul-fault`, the hook that is to fail."""
        self.options = GatewayOptions(
            region=region,
            listen_address=listen_address,
            listen_port=0,
            max_body_bytes=max_body_bytes,
            max_held_bytes=max_held_bytes,
            comment_seconds=comment_seconds,
            body_seconds=body_seconds,
            salt_key=SALT_KEY,
        )
        # Short, since a Unix socket's path has to fit into 108 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="tg-", dir="/tmp"))
        self.admin_socket, self.output = self.folder / "admin.sock", self.folder / "access.log"
        self._loop = Loop()
        self._ads = AdsServer(self.folder / "ads.sock")
        self._loop.run(self._ads.start())
        self.bootstrap = envoy_bootstrap(
            ads_socket=str(self.folder / "ads.sock"),
            admin_socket=str(self.admin_socket),
            metrics_port=metrics_port,
            listen_address=listen_address,
            max_heap_bytes=max_heap_bytes,
        )
        with self.output.open("wb") as output, (self.folder / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [ENVOY, "--config-yaml", json.dumps(self.bootstrap), "--service-node", "test",
                 "--service-cluster", region, "--concurrency", str(workers), "--use-dynamic-base-id",
                 "--log-level", "warning", "--reject-unknown-dynamic-fields"],
                stdout=output, stderr=log, env={**os.environ, MODULES_PATH: str(filter_folder(faults=faults))},
            )  # fmt: skip
        self.port = 0

    def publish(
        self,
        tables: Sequence[RoutingTable],
        engines: Mapping[str, Sequence[Listening]],
        keys: Keys | None = None,
        gateways: int = 1,
    ) -> EnvoyResources:
        """Serve `tables`; `engines` are the ready ones by Service, `gateways` those that share the tenants' limits.

        Returns when Envoy has accepted it.
        """
        endpoints = {
            PoolKey(NAMESPACE, service): [Endpoint("127.0.0.1", engine.port) for engine in ready]
            for service, ready in engines.items()
        }
        endpoints[GATEWAYS] = [Endpoint(f"10.0.0.{number}", 8080) for number in range(gateways)]
        resources = compile_gateway(tables, endpoints, self.options, known_tenants(tables, keys or {}))
        self.publish_resources(resources)
        return resources

    def publish_resources(self, resources: EnvoyResources) -> None:
        version = self._loop.run(self._publish(resources))
        acknowledgement = self._loop.run(self._ads.accepted(version, 20))
        assert acknowledgement.ok, f"{acknowledgement.message}\n{self.log()}"
        self.port = self.port or eventually(self._find_port)

    def refused(self, resources: EnvoyResources) -> str:
        """Publish what Envoy is to refuse; its reason."""
        acknowledgement = self._loop.run(self._ads.accepted(self._loop.run(self._publish(resources)), 20))
        assert not acknowledgement.ok
        return acknowledgement.message

    async def _publish(self, resources: EnvoyResources) -> int:
        return self._ads.publish(resources)

    def _find_port(self) -> int:
        for entry in json.loads(self.admin("/listeners?format=json")).get("listener_statuses", []):
            if entry["name"] == LISTENER:
                return int(entry["local_address"]["socket_address"]["port_value"])
        return 0

    def admin(self, path: str, method: str = "GET") -> str:
        """What Envoy's admin interface says."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.admin_socket))
            connection.sendall(f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
            return receive(connection).body.decode()

    def stat(self, name: str) -> int:
        for line in self.admin("/stats?filter=" + name).splitlines():
            key, _, value = line.partition(": ")
            if key == name:
                return int(value)
        return 0

    def log(self) -> str:
        return (self.folder / "envoy.log").read_text(errors="replace")

    def access_log(self, request_id: str) -> dict[str, Any]:
        """The line of one call, once it is written."""

        def find() -> dict[str, Any] | None:
            for line in self.output.read_text().splitlines():
                entry: dict[str, Any] = json.loads(line)
                if entry.get("request_id") == request_id:
                    return entry
            return None

        found = eventually(find)
        assert found
        return found

    def terminate(self) -> None:
        """End Envoy as a kubelet does, and wait until it has ended."""
        self._process.terminate()
        self._process.wait(30)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._loop.run(self._ads.stop())
        self._loop.close()
        shutil.rmtree(self.folder)
