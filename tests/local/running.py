"""A platform that runs in a thread of its own, so that tests may call it as any client does."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import yaml

from tests.local.waiting import until
from tomoul.api.routingtable import GatewayAuth
from tomoul.local.local_platform import LocalPlatform
from tomoul.local.options import LocalOptions
from tomoul.local.replicas import Engine

READY_SECONDS = 40.0


class RunningPlatform:
    """The platform and its thread."""

    def __init__(self, paths: tuple[Path, ...], auth: GatewayAuth = GatewayAuth.NONE, port: int = 0) -> None:
        self.reports: list[str] = []
        self.platform = LocalPlatform(paths, LocalOptions(port=port, auth=auth), self.reports.append)
        self._clients: list[openai.OpenAI] = []
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        self._up.wait()
        if self._error:
            self._thread.join()
            raise self._error

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                self._error = error
                self._up.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with self.platform as platform:
            await platform.ready(READY_SECONDS)
            self._up.set()
            await self._stop.wait()

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error:
            raise self._error

    def engines(self, region: str, model: str = "", no_store: bool = False) -> list[Engine]:
        """Engines of a region's pools of one kind."""
        return [
            engine
            for command, engine in list(self.platform.engines.items())
            if command.region == region and command.no_store == no_store and model in ("", command.model)
        ]

    def kill(self, *engines: Engine) -> None:
        for engine in engines:
            assert engine.process.pid is not None
            os.kill(engine.process.pid, signal.SIGKILL)

    def until_settled(self, condition: Callable[[LocalPlatform], bool] = lambda _: True) -> None:
        """Wait until the platform has what it should have, and `condition` holds."""
        until(lambda: condition(self.platform) and self.platform.settled, "settling", READY_SECONDS)

    def client(self, region: str | None = None, key: str = "none") -> openai.OpenAI:
        """A client of a region's gateway, by default the first's; closed with the platform."""
        url = self.platform.gateways[region].url if region else self.platform.url
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)
        self._clients.append(client)
        return client


@contextmanager
def running(*paths: Path, auth: GatewayAuth = GatewayAuth.NONE, port: int = 0) -> Iterator[RunningPlatform]:
    platform = RunningPlatform(paths, auth, port)
    try:
        yield platform
    finally:
        platform.stop()


def region(name: str) -> dict[str, Any]:
    """A Region as it is written."""
    return {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": name}, "spec": {}}


def model(name: str, replicas: dict[str, int], args: tuple[str, ...] = (), **spec: Any) -> dict[str, Any]:
    """A ModelDeployment as it is written, of id `test/<name>`."""
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "models"},
        "spec": {
            "model": {"id": f"test/{name}"},
            "source": {"file": {"path": "/models/tiny.gguf"}},
            "engine": {"type": "LlamaCpp", "args": list(args)},
            "regions": [{"name": region, "replicas": count} for region, count in replicas.items()],
        }
        | spec,
    }


def write(path: Path, *documents: dict[str, Any]) -> None:
    """Write a YAML file as an editor does: whole, under another name, then renamed."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(yaml.safe_dump_all(documents))
    unfinished.replace(path)


def ask(client: openai.OpenAI, model: str, region: str | None = None, prompt: str = "Hello?") -> tuple[str, str]:
    """Text and region of an answer."""
    raw = client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=16,
        extra_headers={"X-Tomoul-Region": region} if region else None,
    )
    return raw.parse().choices[0].message.content or "", raw.headers["x-tomoul-region"]
