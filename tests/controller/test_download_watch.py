"""Which loaders are asked how far they are, what is believed of their answers, and how often a model hears of it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from tomoul.controller.asking import PERIOD_SECONDS
from tomoul.controller.download_watch import (
    LARGEST_BYTES,
    MOST_PODS,
    STALL_SECONDS,
    TELL_SECONDS,
    WAIT_SECONDS,
    DownloadWatch,
    parsed,
    read_loader,
)
from tomoul.controller.observed import Observed
from tomoul.plan.podfact import PodFact
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

MODEL = Key("models", "chat")
DEPLOYMENT = Key("models", "chat-eu")
NOW = datetime(2026, 11, 26, 1, 0, 0, tzinfo=UTC)
MOVED = "2026-11-26T00:50:00Z"


def pod(name: str, *, loader: bool = True) -> dict[str, Any]:
    running, done = {"running": {"startedAt": MOVED}}, {"terminated": {"exitCode": 0}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "models",
            "uid": name,
            "resourceVersion": "1" if loader else "2",
            "labels": {
                "tomoul.ai/region": "eu",
                "tomoul.ai/model-deployment": "chat",
                "app.kubernetes.io/component": "engine",
                "pod-template-hash": "abc",
            },
            "ownerReferences": [{"kind": "ReplicaSet", "name": "chat-eu-abc"}],
        },
        "spec": {"containers": []},
        "status": {"podIP": name, "initContainerStatuses": [{"name": "loader", "state": running if loader else done}]},
    }


def answer(**told: Any) -> bytes:
    found = {"state": "Downloading", "bytes": 10, "total": 100, "bytesPerSecond": 5, "movedAt": MOVED}
    return json.dumps(found | {"stillSeconds": 0, "error": ""} | told).encode()


class Loaders:
    """Pods `a` and `b` of one Deployment, whose loaders run, and what they say; an exception is no answer."""

    def __init__(self) -> None:
        self.says: dict[str, bytes | Exception] = {"a": answer(), "b": answer(bytes=20)}
        self.asked: list[str] = []
        self.told: list[Key] = []
        self.observed = Observed(Settings())
        for name in ("a", "b"):
            self.observed.pods.put(pod(name))
        now = asyncio.get_running_loop().time
        self.watch = DownloadWatch(self.observed, self.told.append, self.read, now=lambda: NOW, monotonic=now)

    async def read(self, address: str) -> bytes:
        self.asked.append(address)
        said = self.says[address]
        if isinstance(said, Exception):
            raise said
        return said

    def follow(self, *names: str) -> None:
        self.watch.follow(MODEL, {Key("models", name): name for name in names})

    @property
    def pods(self) -> dict[str, PodFact]:
        return {fact.name: fact for fact in self.observed.world().facts.pods[DEPLOYMENT]}

    @property
    def bytes(self) -> dict[str, int | None]:
        return {name: fact.download.bytes if fact.download else None for name, fact in self.pods.items()}


@pytest.fixture
async def loaders() -> Loaders:
    return Loaders()


@pytest.mark.looptime
async def test_nobody_is_asked_while_no_loader_runs(loaders: Loaders) -> None:
    running = asyncio.create_task(loaders.watch.run())
    await asyncio.sleep(10 * PERIOD_SECONDS)
    assert loaders.asked == []
    loaders.follow("a")
    await asyncio.sleep(PERIOD_SECONDS / 2)
    assert loaders.asked == ["a"]
    loaders.follow()
    await asyncio.sleep(10 * PERIOD_SECONDS)
    assert loaders.asked == ["a"]
    assert loaders.observed.downloads == {}
    running.cancel()


@pytest.mark.looptime
async def test_a_model_hears_of_all_its_pods_at_once_and_not_before_half_a_minute_has_passed(loaders: Loaders) -> None:
    loaders.follow("a", "b")
    await loaders.watch.ask()
    assert (loaders.bytes, loaders.told) == ({"a": 10, "b": 20}, [MODEL])
    for count in (30, 40):
        await asyncio.sleep(PERIOD_SECONDS)
        loaders.says = {"a": answer(bytes=count), "b": answer(bytes=count)}
        await loaders.watch.ask()
    assert (loaders.bytes, loaders.told) == ({"a": 10, "b": 20}, [MODEL])
    await asyncio.sleep(TELL_SECONDS - 2 * PERIOD_SECONDS)
    await loaders.watch.ask()
    assert (loaders.bytes, loaders.told) == ({"a": 40, "b": 40}, [MODEL] * 2)


@pytest.mark.looptime
async def test_a_loader_that_says_the_same_again_is_no_news(loaders: Loaders) -> None:
    loaders.follow("a")
    for _ in range(5):
        await loaders.watch.ask()
        await asyncio.sleep(TELL_SECONDS)
    assert loaders.told == [MODEL]


@pytest.mark.looptime
async def test_a_stall_and_its_end_are_told_at_once(loaders: Loaders) -> None:
    loaders.follow("a")
    await loaders.watch.ask()
    loaders.says["a"] = answer(stillSeconds=STALL_SECONDS, error="no route")
    await loaders.watch.ask()
    found = loaders.pods["a"].download
    assert found is not None
    assert (found.stalled_since, found.error) == (datetime(2026, 11, 26, 0, 50, tzinfo=UTC), "no route")
    loaders.says["a"] = answer(bytes=11)
    await loaders.watch.ask()
    assert loaders.told == [MODEL] * 3
    assert loaders.bytes["a"] == 11


@pytest.mark.looptime
async def test_what_a_loader_said_is_over_with_the_loader(loaders: Loaders) -> None:
    loaders.follow("a", "b")
    await loaders.watch.ask()
    loaders.observed.pods.put(pod("a", loader=False))
    # The pod has changed, and its ModelDeployment has not been looked at yet.
    assert loaders.bytes == {"a": None, "b": 20}
    loaders.follow("b")
    assert loaders.observed.downloads.keys() == {Key("models", "b")}


@pytest.mark.looptime
async def test_of_many_pods_the_first_are_asked_and_of_none_is_kept_what_it_said_before(loaders: Loaders) -> None:
    later = [f"z{number:02}" for number in range(MOST_PODS)]
    loaders.says |= {name: answer() for name in (*later, "0")}
    loaders.follow("b", *later[1:])
    await loaders.watch.ask()
    assert len(loaders.asked) == MOST_PODS
    # One that comes before them all pushes the last one out, which ends later.
    loaders.follow("0", "b", *later[1:])
    loaders.follow()
    assert loaders.observed.downloads == {}


@pytest.mark.looptime
@pytest.mark.parametrize(
    "said",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        b"",
        b"<html>",
        b"[" * 10_000,
        b"[1]",
        b'{"state": "Downloading"}',
        answer(state="Dancing"),
        answer(bytes=-1),
        answer(total=2**63),
        answer(bytes="10"),
        answer(bytesPerSecond=float("inf")),
        answer(movedAt="yesterday"),
        answer(error=7),
    ],
)
async def test_no_answer_or_a_wrong_one_is_taken_for_none_and_spoils_no_other(
    loaders: Loaders, said: bytes | Exception
) -> None:
    loaders.says["a"] = said
    loaders.follow("a", "b")
    await loaders.watch.ask()
    assert loaders.bytes == {"a": None, "b": 20}


@pytest.mark.parametrize(
    ("state", "still", "stalls"),
    [
        ("Downloading", STALL_SECONDS, True),
        ("Downloading", STALL_SECONDS - 1, False),
        ("Listing", STALL_SECONDS, True),
        ("Waiting", WAIT_SECONDS - 1, False),
        ("Waiting", WAIT_SECONDS, True),
        ("Verifying", STALL_SECONDS, False),
    ],
)
def test_a_loader_stalls_that_works_and_gets_nothing(state: str, still: int, stalls: bool) -> None:
    assert (parsed(answer(state=state, stillSeconds=still), NOW).stalled_since is not None) is stalls


def test_a_loader_of_an_older_release_is_understood() -> None:
    found = json.loads(answer())
    del found["stillSeconds"]
    assert parsed(json.dumps(found).encode(), NOW).stalled_since is None


async def test_an_answer_is_read_up_to_a_bound_and_no_redirect_is_followed() -> None:
    body = {"text": b"x" * LARGEST_BYTES}

    async def progress(request: web.Request) -> web.StreamResponse:
        if not body["text"]:
            raise web.HTTPFound("/elsewhere")
        return web.Response(body=body["text"])

    app = web.Application()
    app.router.add_get("/progress", progress)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        assert await read_loader("127.0.0.1", port) == body["text"]
        body["text"] += b"x"
        with pytest.raises(ValueError, match="more than"):
            await read_loader("127.0.0.1", port)
        body["text"] = b""
        # What is no progress is found out by whoever parses it.
        with pytest.raises(ValueError, match="Invalid JSON"):
            parsed(await read_loader("127.0.0.1", port), NOW)
    finally:
        await runner.cleanup()
