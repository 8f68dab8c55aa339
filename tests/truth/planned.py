"""What the plan renders for a region, run as processes behind a real gateway: of engines that local mode cannot run."""

import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gateway.harness import Gateway
from tests.gateway.keys import secrets_of
from tests.local.running import region
from tests.local.waiting import until
from tests.plan.worlds import world_of
from tests.truth.endpoint import KEYS, REGION, Endpoint, metric, tenant_documents
from tomoul.api.routingtable import RoutingTable
from tomoul.local.probe import free_port
from tomoul.plan.planner import plan

Launch = Callable[[Sequence[str], Sequence[str], int], Sequence[str | Path]]
"""What to run, for a container's command and arguments, so that it listens on a loopback port."""
OF_THE_IMAGE = {"HOME", "USER", "HF_HOME"}
"""Variables of a container that name places and people of its image."""


@dataclass(frozen=True)
class Replica:
    """An engine's process."""

    model: str
    service: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    def until_ready(self, seconds: float) -> None:
        try:
            until(self._ready, "its start", seconds)
        except AssertionError as error:
            error.add_note(self.log.read_text(errors="replace")[-4000:])
            raise

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"the engine ended:\n{self.log.read_text(errors='replace')[-4000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def model(
    name: str, engine: Mapping[str, Any], cache: Mapping[str, Any], replicas: int = 1, **spec: Any
) -> dict[str, Any]:
    """A ModelDeployment of id `test/<name>`, with one replica for no-store calls if they have a pool."""
    here = {"name": REGION, "replicas": replicas}
    if cache.get("noStore") == "NotStored":
        here["noStoreReplicas"] = 1
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "models"},
        "spec": {"model": {"id": f"test/{name}"}, "engine": engine, "cache": cache, "regions": [here]} | spec,
    }


@contextmanager
def planned(
    models: Sequence[dict[str, Any]],
    launch: Launch,
    counters: tuple[str, str],
    environment: Mapping[str, str] | None = None,
    stride: int = 1,
    seconds: float = 60,
    spoil: Callable[[dict[str, Any]], None] | None = None,
    placement: Mapping[str, Any] | None = None,
) -> Iterator[Endpoint]:
    """The models in one region whose gateway asks for keys.

    `counters`: the engine's metrics of prompt tokens, and of those that its cache had. `spoil` changes the RoutingTable
    that the gateway gets, for tests of the tests. `placement` is the Region's.
    """
    tenants = [each for each in tenant_documents(KEYS) if each["kind"] == "Tenant"]
    here = region(REGION) | {"spec": {"placement": dict(placement or {})}}
    state = plan(world_of([{"settings": {"gateway_auth": "Required"}}, here, *models, *tenants]))
    ids = {each["metadata"]["name"]: each["spec"]["model"]["id"] for each in models}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="truth-")))
        replicas: list[Replica] = []
        for deployment in (each for each in state.objects if each["kind"] == "Deployment"):
            name = ids.get(deployment["metadata"]["labels"].get("tomoul.ai/model-deployment", ""))
            if name is None:
                continue
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            for _ in range(deployment["spec"]["replicas"]):
                while (port := free_port()) in {replica.port for replica in replicas}:
                    pass
                log = folder / f"{port}.log"
                argv = launch(container.get("command", ()), container["args"], port)
                rendered = {each["name"]: each["value"] for each in container["env"] if "value" in each}
                variables = {name: value for name, value in rendered.items() if name not in OF_THE_IMAGE}
                process = stack.enter_context(_running(argv, log, variables | dict(environment or {})))
                replicas.append(Replica(name, deployment["metadata"]["name"], port, process, log))
        for replica in replicas:
            replica.until_ready(seconds)
        gateway = Gateway(REGION)
        stack.callback(gateway.stop)
        table = json.loads(json.dumps(state.tables[REGION]))
        if spoil is not None:
            spoil(table)
        by_service: dict[str, list[Replica]] = {}
        for replica in replicas:
            by_service.setdefault(replica.service, []).append(replica)
        gateway.publish([RoutingTable.model_validate(table)], by_service, secrets_of({n: [k] for n, k in KEYS.items()}))
        prompts, cached = counters

        def computed(name: str) -> int:
            ports = [replica.port for replica in replicas if replica.model == name]
            return sum(metric(port, prompts) - metric(port, cached) for port in ports)

        endpoint = Endpoint(f"http://127.0.0.1:{gateway.port}", computed, stride)
        stack.callback(endpoint.close)
        yield endpoint


@contextmanager
def _running(
    argv: Sequence[str | Path], log: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield process
    finally:
        # vLLM's engine is a process of its own below its server's, which ends it.
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
