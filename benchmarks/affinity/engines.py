"""Replicas of the real llama.cpp, with a tiny model."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import aiohttp

SLOTS = 4
TOKENS_PER_SLOT = 4096
_START_SECONDS = 60.0


class Engine:
    """One llama.cpp server, started by the constructor; its cache has the default size, which holds all."""

    def __init__(self, name: str, model: Path, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tomoul.local.llama_server", "--model", str(model), "--port", str(self.port),
                 "--alias", "bench", "--parallel", str(SLOTS), "--ctx-size", str(SLOTS * TOKENS_PER_SLOT),
                 "--threads", "1"],
                stdout=log, stderr=log,
            )  # fmt: skip

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers. Raises TimeoutError."""
        deadline = monotonic() + _START_SECONDS
        while monotonic() < deadline and self._process.poll() is None:
            try:
                async with session.get(f"http://127.0.0.1:{self.port}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass  # it does not listen yet
            await asyncio.sleep(0.1)
        raise TimeoutError(f"llama.cpp did not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
