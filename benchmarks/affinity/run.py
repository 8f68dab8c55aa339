"""The run: conversations in turns, each subject with replicas of its own, turn by turn one behind the other."""

import asyncio
import json
import random
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.affinity.engines import SLOTS, TOKENS_PER_SLOT, Engine
from benchmarks.gateway.envoy import Envoy
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.ads import AdsServer
from tomoul.gateway.compile.compiler import compile_gateway
from tomoul.gateway.compile.names import LISTENER, pool_cluster
from tomoul.gateway.compile.resources import Endpoint, GatewayOptions, PoolKey
from tomoul.gateway.compile.tenants import known_tenants
from tomoul.local.tiny_gguf import write_tiny_gguf
from tomoul.plan.envoy_bootstrap import envoy_bootstrap

REPLICAS = 4
CONVERSATIONS = 64
TURNS = 4
AT_ONCE = 8
SYSTEM = "You answer the questions of a company's customers, briefly, and say so where you do not know. " * 4
_WORDS = ("order", "parcel", "invoice", "refund", "address", "account", "password", "delivery", "shop", "colour")
_REGION, _NAMESPACE = "eu-west", "bench"


@dataclass
class Subject:
    """One way to pick a replica, with the replicas that it picks from."""

    name: str
    affinity: bool
    engines: list[Engine] = field(default_factory=list)
    cached: int = 0
    prompt: int = 0

    @property
    def model(self) -> str:
        """Its model's id."""
        return f"bench/{self.name}"

    @property
    def pool(self) -> PoolKey:
        """Its replicas' Service."""
        return PoolKey(_NAMESPACE, self.name)


async def run() -> dict[str, Any]:
    """All figures."""
    subjects = [Subject("prefix", affinity=True), Subject("least-request", affinity=False)]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ta-", dir="/tmp")))
        weights = folder / "tiny.gguf"
        write_tiny_gguf(weights)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)))
        for subject in subjects:
            for number in range(REPLICAS):
                subject.engines.append(Engine(f"{subject.name}-{number}", weights, folder))
                stack.callback(subject.engines[-1].stop)
        await asyncio.gather(*(engine.ready(session) for subject in subjects for engine in subject.engines))
        ads = AdsServer(folder / "ads.sock")
        await ads.start()
        stack.push_async_callback(ads.stop)
        sockets = {"ads_socket": str(folder / "ads.sock"), "admin_socket": str(folder / "admin.sock")}
        envoy = Envoy("gateway", envoy_bootstrap(**sockets, metrics_port=0), folder)
        stack.callback(envoy.stop)
        await _publish(ads, subjects)
        url = f"http://127.0.0.1:{await envoy.port(LISTENER)}/v1/chat/completions"
        await _converse(session, url, subjects)
        shares = {subject.name: await _busiest_share(envoy, subject) for subject in subjects}
    return {
        "replicas": REPLICAS, "slots": SLOTS, "tokens_per_slot": TOKENS_PER_SLOT, "conversations": CONVERSATIONS,
        "turns": TURNS, "at_once": AT_ONCE,
        "subjects": {
            subject.name: {
                "prompt_tokens": subject.prompt, "cached_tokens": subject.cached,
                "cached_share": subject.cached / subject.prompt, "busiest_replica_share": shares[subject.name],
            }
            for subject in subjects
        },
    }  # fmt: skip


async def _publish(ads: AdsServer, subjects: list[Subject]) -> None:
    models = [
        {
            "id": subject.model,
            "regions": [_REGION],
            "cache": {"mode": "Shared", "noStore": "Refuse"},
            **({"affinity": "Prefix"} if subject.affinity else {}),
            "pools": [{"name": "default", "namespace": _NAMESPACE, "service": subject.name, "port": 1}],
        }
        for subject in subjects
    ]
    spec = {"region": _REGION, "models": models, "knownRegions": [_REGION], "auth": "None"}
    table = RoutingTable.model_validate({"metadata": {"name": _REGION, "generation": 1}, "spec": spec})
    endpoints = {
        subject.pool: [Endpoint("127.0.0.1", engine.port) for engine in subject.engines] for subject in subjects
    }
    options = GatewayOptions(_REGION, "127.0.0.1", 0, salt_key=b"a key for benchmarks")
    version = ads.publish(compile_gateway([table], endpoints, options, known_tenants([table], {})))
    answer = await ads.accepted(version, 30)
    if not answer.ok:
        raise RuntimeError(f"Envoy refused the configuration: {answer.message}")


async def _converse(session: aiohttp.ClientSession, url: str, subjects: list[Subject]) -> None:
    """Every conversation's turns, in another order each turn, AT_ONCE calls at the same time."""
    chance = random.Random(7)
    questions = [[" ".join(chance.choices(_WORDS, k=30)) for _ in range(TURNS)] for _ in range(CONVERSATIONS)]
    histories = {subject.name: [[{"role": "system", "content": SYSTEM}] for _ in questions] for subject in subjects}
    room = asyncio.Semaphore(AT_ONCE)

    async def turn(subject: Subject, number: int, question: str) -> None:
        messages = histories[subject.name][number]
        messages.append({"role": "user", "content": f"{number}: {question}"})
        async with room:
            answer = await _call(session, url, subject, messages, 16)
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"] or ""})
        subject.prompt += answer["usage"]["prompt_tokens"]
        subject.cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    for step in range(TURNS):
        order = chance.sample(range(CONVERSATIONS), CONVERSATIONS)
        for subject in subjects if step % 2 else reversed(subjects):
            await asyncio.gather(*(turn(subject, number, questions[number][step]) for number in order))


async def _call(
    session: aiohttp.ClientSession, url: str, subject: Subject, messages: list[dict[str, str]], most: int
) -> dict[str, Any]:
    body = {"model": subject.model, "messages": messages, "max_tokens": most, "seed": 1}
    async with session.post(url, json=body) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} for {subject.model}: {text}")
        found: dict[str, Any] = json.loads(text)
        return found


async def _busiest_share(envoy: Envoy, subject: Subject) -> float:
    calls = await _calls(envoy, subject)
    return max(calls.values()) / sum(calls.values())


async def _calls(envoy: Envoy, subject: Subject) -> dict[int, int]:
    """Calls that each replica has got, by port."""
    statuses = json.loads(await envoy.admin("/clusters?format=json"))["cluster_statuses"]
    [cluster] = [status for status in statuses if status["name"] == pool_cluster(subject.pool)]
    return {
        host["address"]["socket_address"]["port_value"]: next(
            int(stat.get("value", 0)) for stat in host["stats"] if stat["name"] == "rq_total"
        )
        for host in cluster["host_statuses"]
    }
