import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.engine import ClientsEngine
from tests.clients.environments import node, node_packages, python
from tests.gateway.keys import bearer, key_of, secrets_of, tenants_of
from tests.gateway.two_regions import EU_ENGINES, Platform, eu_table
from tests.gateway.wire import call

PROGRAMS = Path(__file__).parent / "programs"
# Of `spent` one call comes through and none for an hour after: its gateways are said to be 60.
TENANTS = {"clients": {}, "confined": {"regions": ["us-east"]}, "spent": {"limits": {"requestsPerMinute": 1}}}
GATEWAYS = 60
KEYS = {name: key_of(name) for name in TENANTS}
CLIENTS = ("openai", "openai-2", "langchain-openai", "openai-node")


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The gateway of eu-west asks for keys."""
    platform = Platform()
    table = eu_table(platform.us.port, **tenants_of(TENANTS))
    keys = secrets_of({name: [key] for name, key in KEYS.items()})
    platform.eu.publish([table], platform.ready(EU_ENGINES), keys, GATEWAYS)
    yield platform
    platform.stop()


class Reports:
    """What each client made of the gateway; all of them run at once, and each once."""

    def __init__(self, url: str, engine: ClientsEngine) -> None:
        self.engine = engine
        self._url = url
        self._running: dict[str, subprocess.Popen[str] | pytest.skip.Exception] = {}
        self._reports: dict[str, Any] = {}
        for client in CLIENTS:
            try:
                self._running[client] = self._start(client)
            except pytest.skip.Exception as skipped:
                self._running[client] = skipped

    def of(self, client: str) -> Any:
        """Its report. Skips the test if the client cannot be had here."""
        running = self._running[client]
        if isinstance(running, pytest.skip.Exception):
            raise running
        if client not in self._reports:
            output, errors = running.communicate(timeout=300)
            assert running.returncode == 0, errors
            self._reports[client] = json.loads(output)
        return self._reports[client]

    def stop(self) -> None:
        for running in self._running.values():
            if isinstance(running, subprocess.Popen):
                running.kill()
                running.communicate()

    def _start(self, client: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        if client == "openai-node":
            environment["CLIENT_FOLDER"] = str(node_packages(client))
            command = [node(), PROGRAMS / "openai_node.mjs"]
        else:
            program = "langchain_openai_python.py" if client == "langchain-openai" else "openai_python.py"
            command = [python(client), PROGRAMS / program]
        return subprocess.Popen(
            [*command, self._url, client, json.dumps(KEYS)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip


@pytest.fixture(scope="session")
def reports(platform: Platform) -> Iterator[Reports]:
    engine = ClientsEngine()
    for each in platform.engines.values():
        each.behave = engine
    message = {"model": "acme/full", "messages": [{"role": "user", "content": "answer"}]}
    assert call(platform.eu.port, body=message, headers=[bearer(KEYS["spent"])]).status == 200
    reports = Reports(f"http://127.0.0.1:{platform.eu.port}/v1", engine)
    yield reports
    reports.stop()
