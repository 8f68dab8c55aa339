"""An Envoy process with one worker, as a gateway pod runs it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from tomoul.gateway.filter.build import filter_folder
from tomoul.plan.envoy_bootstrap import MODULES_PATH

ENVOY = Path(sys.prefix) / "bin" / "envoy"
_START_SECONDS = 30.0


class Envoy:
    """Started by the constructor; `folder` gets its log and its access log."""

    def __init__(self, name: str, bootstrap: Mapping[str, Any], folder: Path) -> None:
        self._admin = bootstrap["admin"]["address"]["pipe"]["path"]
        self._log = folder / f"{name}.log"
        with (folder / f"{name}.access.log").open("wb") as output, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [ENVOY, "--config-yaml", json.dumps(bootstrap), "--service-node", name, "--service-cluster", name,
                 "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"],
                stdout=output, stderr=log, env={**os.environ, MODULES_PATH: str(filter_folder())},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def port(self, listener: str) -> int:
        """The port of `listener`, once there is one. Raises TimeoutError."""
        deadline = monotonic() + _START_SECONDS
        while monotonic() < deadline and self._process.poll() is None:
            try:
                statuses = json.loads(await self.admin("/listeners?format=json")).get("listener_statuses", [])
            except OSError:
                statuses = []  # it does not listen yet
            for status in statuses:
                if status["name"] == listener:
                    return int(status["local_address"]["socket_address"]["port_value"])
            await asyncio.sleep(0.05)
        raise TimeoutError(f"Envoy has no listener `{listener}`: {self._log.read_text()[-2000:]}")

    async def admin(self, path: str) -> str:
        """What the admin interface answers. Raises OSError."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._admin)) as session,
            session.get(f"http://admin{path}") as answer,
        ):
            return await answer.text()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def plain_bootstrap(upstream_port: int, folder: Path) -> dict[str, Any]:
    """Envoy at its least: one listener, one route, one cluster, neither filters nor a log."""
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "plain",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "engine", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
    }
    engine = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream_port}}}}
    return {
        "admin": {"address": {"pipe": {"path": str(folder / "plain.admin")}}},
        "static_resources": {
            "listeners": [
                {
                    "name": "plain",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "engine",
                    "type": "STATIC",
                    "connect_timeout": "2s",
                    "load_assignment": {"cluster_name": "engine", "endpoints": [{"lb_endpoints": [engine]}]},
                }
            ],
        },
    }
