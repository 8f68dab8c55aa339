"""Other proxies for the same endpoint, measured where they are installed."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks.gateway.accounting import with_descendants
from benchmarks.gateway.bodies import API_KEY
from benchmarks.gateway.gateway import model_ids

PEERS = ("vllm-router", "sglang-router", "litellm")
_START_SECONDS = 60.0


@dataclass
class Peer:
    """A peer that answers on `port`."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return with_descendants(self.process.pid)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def installed_peers() -> list[str]:
    """Those of PEERS whose command is on the PATH."""
    return [name for name in PEERS if shutil.which(name)]


def _start(name: str, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    # Prices of models would come from the internet otherwise.
    local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_MASTER_KEY": API_KEY}
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={**os.environ, **local}
        )  # fmt: skip


async def start_peer(name: str, engine_port: int, model_count: int, folder: Path) -> Peer:
    """Start a peer before the fake engine. Raises TimeoutError, with its log, if it does not answer a chat."""
    port = _free_port()
    process = _start(name, _command(name, port, engine_port, model_count, folder), folder)
    peer = Peer(name, port, process)
    deadline = monotonic() + _START_SECONDS
    while monotonic() < deadline and process.poll() is None:
        if await _answers(port):
            return peer
        await asyncio.sleep(0.2)
    peer.stop()
    raise TimeoutError(f"{name} does not answer: {(folder / f'{name}.log').read_text(errors='replace')[-2000:]}")


def _command(name: str, port: int, engine_port: int, model_count: int, folder: Path) -> Sequence[str]:
    engine = f"http://127.0.0.1:{engine_port}"
    if name == "litellm":
        config = folder / "litellm.json"
        upstream = {"api_base": f"{engine}/v1", "api_key": "none"}
        models = [
            {"model_name": model, "litellm_params": {"model": f"openai/{model}", **upstream}}
            for model in model_ids(model_count)
        ]
        config.write_text(json.dumps({"model_list": models}))
        return ["litellm", "--config", str(config), "--host", "127.0.0.1", "--port", f"{port}", "--num_workers", "1"]
    command = [name] if name == "vllm-router" else [name, "launch"]
    metrics = ["--prometheus-host", "127.0.0.1", "--prometheus-port", f"{_free_port()}"]
    address = ["--host", "127.0.0.1", "--port", f"{port}"]
    return [*command, "--worker-urls", engine, *address, "--policy", "round_robin", "--log-level", "error", *metrics]


async def _answers(port: int) -> bool:
    body = json.dumps({"model": model_ids(1)[0], "messages": [{"role": "user", "content": "?"}]})
    lines = [
        "POST /v1/chat/completions HTTP/1.1", "host: 127.0.0.1", "connection: close", "content-type: application/json",
        f"authorization: Bearer {API_KEY}", f"content-length: {len(body)}", "", body,
    ]  # fmt: skip
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(10):
            return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
