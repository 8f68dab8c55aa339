"""A real Envoy that takes its configuration from an ADS socket, and small resources for it."""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.agent.http_calls import get
from tomoul.gateway.compile.resources import EnvoyResources
from tomoul.gateway.filter.build import filter_folder
from tomoul.plan.envoy_bootstrap import MODULES_PATH

ENVOY = Path(__file__).parents[2] / ".venv/bin/envoy"
TYPE = "type.googleapis.com/"


async def eventually(check: Callable[[], Any], within: float = 30.0) -> Any:
    """The first truthy result of `check` (may be async; an AssertionError or OSError is a "not yet")."""
    loop = asyncio.get_running_loop()
    deadline, last = loop.time() + within, None
    while loop.time() < deadline:
        try:
            result = check()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return result
        except (AssertionError, OSError) as error:
            last = error
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {within} s; last: {last!r}")


@contextlib.contextmanager
def short_folder():
    """A folder whose path leaves room for a Unix socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="ta-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bootstrap(ads_socket: Path, admin_socket: Path) -> dict[str, Any]:
    """The least that an Envoy needs to find its ADS."""
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(admin_socket)}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": "ads",
                            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}},
                        }
                    }
                ],
            },
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "ads",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "ads",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(ads_socket)}}}}]}
                        ],
                    },
                }
            ]
        },
    }


class Envoy:
    """One Envoy process; its admin interface is on a Unix socket in `folder`."""

    def __init__(self, folder: Path, bootstrap: Mapping[str, Any]) -> None:
        self.admin_socket = folder / "admin.sock"
        self.log = folder / "envoy.log"
        self._bootstrap = bootstrap
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(ENVOY), "--config-yaml", json.dumps(self._bootstrap), "--use-dynamic-base-id", "--concurrency", "1",
                "--log-level", "warning", "--service-node", "test", "--service-cluster", "test",
                stdout=log, stderr=log, env={**os.environ, MODULES_PATH: str(filter_folder())},
            )  # fmt: skip

    async def stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def admin(self, path: str) -> str:
        answer = await get(self.admin_socket, path)
        return answer.text

    async def port(self, listener: str = "main") -> int:
        """Port on which a listener is served, once it is."""

        async def find() -> int:
            listeners = json.loads(await self.admin("/listeners?format=json"))
            for entry in listeners.get("listener_statuses", []):
                if entry["name"] == listener:
                    port = int(entry["local_address"]["socket_address"]["port_value"])
                    # Envoy names the port before its workers listen on it.
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    return port
            return 0

        return await eventually(find)


@contextlib.asynccontextmanager
async def running_envoy(envoy: Envoy) -> AsyncIterator[Envoy]:
    await envoy.start()
    try:
        yield envoy
    finally:
        await envoy.stop()


def listener(name: str = "main", routes: str = "routes") -> dict[str, Any]:
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "http",
                        "typed_config": {
                            "@type": TYPE
                            + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                            "stat_prefix": "main",
                            "rds": {
                                "route_config_name": routes,
                                "config_source": {"ads": {}, "resource_api_version": "V3"},
                            },
                            "http_filters": [
                                {
                                    "name": "router",
                                    "typed_config": {"@type": TYPE + "envoy.extensions.filters.http.router.v3.Router"},
                                }
                            ],
                        },
                    }
                ]
            }
        ],
    }


def cluster(name: str, connect_timeout: str = "1s") -> dict[str, Any]:
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": connect_timeout,
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
    }


def assignment(name: str, *ports: int) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}


def routes(*clusters: str, name: str = "routes") -> dict[str, Any]:
    """`/<cluster>` goes to the cluster."""
    return {
        "name": name,
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"path": f"/{cluster}"}, "route": {"cluster": cluster}} for cluster in clusters],
            }
        ],
    }


def resources(pools: Mapping[str, tuple[int, ...]], connect_timeout: str = "1s") -> EnvoyResources:
    """One listener, one route table, and per pool a path and a cluster with endpoints on these ports."""
    return EnvoyResources(
        listeners={"main": listener()},
        routes={"routes": routes(*pools)},
        clusters={name: cluster(name, connect_timeout) for name in pools},
        endpoints={name: assignment(name, *ports) for name, ports in pools.items()},
    )
