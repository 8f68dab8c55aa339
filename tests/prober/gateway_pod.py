"""GatewayPod: what a gateway pod runs, as processes that can be killed apart and start again where they were."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.controlplane.api import eventually
from tests.controlplane.process import Process, free_port
from tests.gateway.harness import ENVOY
from tomoul.gateway.filter.build import filter_folder
from tomoul.plan.envoy_bootstrap import MODULES_PATH, envoy_bootstrap


class GatewayPod:
    """An agent and an Envoy, with their sockets in a short folder and ports that stay."""

    def __init__(self, region: str, pod: str, kubeconfig: Path, port: int, peers: Mapping[str, str]) -> None:
        """`peers` are the URLs of all regions' gateways."""
        self.region, self.pod, self.port = region, pod, port
        self.folder = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))
        self._agent_port, self._kubeconfig, self._peers = free_port(), kubeconfig, json.dumps(peers)
        (self.folder / "salt").write_bytes(b"a key for tests, of 32 bytes....")
        self.relist_seconds = 600.0
        self._processes: dict[str, Process] = {}
        self.start()

    def start(self) -> None:
        """Start what does not run."""
        if "agent" not in self._processes:
            self._processes["agent"] = Process(
                [
                    "env", f"PEERS={self._peers}", sys.executable, "-m", "tests.prober.agent", "agent",
                    f"--region={self.region}", f"--pod-name={self.pod}", f"--socket={self.folder / 'ads.sock'}",
                    f"--snapshot-dir={self.folder / 'snapshot'}", f"--salt-key-file={self.folder / 'salt'}",
                    f"--listen-port={self.port}", f"--health-port={self._agent_port}",
                    f"--kubeconfig={self._kubeconfig}", "--log-format=text",
                    f"--relist-seconds={self.relist_seconds}",
                ],
                self.folder / "agent.log",
            )  # fmt: skip
        if "envoy" not in self._processes:
            bootstrap = envoy_bootstrap(
                ads_socket=str(self.folder / "ads.sock"), admin_socket=str(self.folder / "admin.sock"), metrics_port=0
            )
            # Nobody reads the access log, and a million lines take room.
            self._processes["envoy"] = Process(
                [
                    "sh", "-c", 'exec "$@" >/dev/null', "sh", "env", f"{MODULES_PATH}={filter_folder()}", ENVOY,
                    "--config-yaml", json.dumps(bootstrap), "--service-node", self.pod, "--service-cluster",
                    self.region, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning",
                ],
                self.folder / "envoy.log",
            )  # fmt: skip

    def kill(self, *names: str) -> None:
        """SIGKILL; `agent` and `envoy` if none is named."""
        for name in names or ("agent", "envoy"):
            if (process := self._processes.pop(name, None)) is not None:
                process.stop()

    def restart(self) -> None:
        """Kill both, and have them take calls again."""
        self.kill()
        time.sleep(0.5)
        self.start()
        self.ready()
        time.sleep(1)  # for connections of other gateways that were refused, and are tried again

    def listens(self) -> bool:
        """Whether somebody takes calls."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def ready(self, seconds: float = 60) -> None:
        """Wait until it takes calls."""
        eventually(self.listens, seconds, f"the gateway of {self.region} listens")

    def knows(self, seconds: float = 60) -> None:
        """Wait until the agent has Envoy's acknowledgement."""

        def check() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", self._agent_port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/readyz")
                with connection.getresponse() as answer:
                    return answer.status == 200

        eventually(check, seconds, f"the agent of {self.region} is ready")

    def log(self) -> str:
        """The ends of what agent and Envoy have logged."""
        found = [self.folder / f"{name}.log" for name in ("agent", "envoy")]
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in found if file.exists())

    def stop(self) -> None:
        self.kill()
        if os.environ.get("TOMOUL_KEEP") != "1":
            shutil.rmtree(self.folder, ignore_errors=True)
