"""How Events are written: counted, limited, only by the leader, and never in anybody's way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tomoul.controller.metrics import Metrics
from tomoul.controller.recorder import BURST, SAME_FOR, WAITING, About, Recorder
from tomoul.kube.errors import Conflict, Forbidden, KubeError
from tomoul.kube.resources import MODEL_DEPLOYMENTS, REGIONS
from tomoul.plan.events import MAX_NOTE, Event
from tomoul.plan.world import Key

pytestmark = pytest.mark.looptime

CHAT = About(MODEL_DEPLOYMENTS, Key("models", "chat"), "uid-of-chat")
CRASHED = Event("Warning", "CrashLoop", "eu", "eu: bad flag")


class Client:
    """An API server's answers."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.error: KubeError | None = None

    async def create(self, manifest: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.created.append(manifest)


class Writing:
    """A recorder at work."""

    def __init__(self) -> None:
        self.client = Client()
        self.lease = SimpleNamespace(held=True)
        self.metrics = Metrics()
        self.clock = asyncio.get_running_loop().time
        self.recorder = Recorder(
            self.client,  # type: ignore[arg-type]
            self.lease,  # type: ignore[arg-type]
            self.metrics,
            "pod_1",
            lambda: datetime.fromtimestamp(1_767_225_600 + self.clock(), UTC),
            monotonic=self.clock,
        )

    async def offer(self, *events: Event, about: About = CHAT, seconds: float = 1) -> None:
        self.recorder.offer(about, events)
        await asyncio.sleep(seconds)

    def outcome(self, name: str) -> float:
        found = self.metrics.registry.get_sample_value("tomoul_events_total", {"outcome": name})
        assert found is not None
        return found


@contextmanager
def running(writing: Writing) -> Iterator[None]:
    task = asyncio.get_running_loop().create_task(writing.recorder.run())
    try:
        yield
    finally:
        task.cancel()


async def test_an_event_names_its_object_and_the_operator() -> None:
    writing = Writing()
    with running(writing):
        await writing.offer(CRASHED)
        await writing.offer(Event("Normal", "Ready", "", "n"), about=About(REGIONS, Key("", "eu"), "uid-of-eu"))
    first, second = writing.client.created
    assert first["metadata"]["namespace"] == "models"
    assert first["metadata"]["name"].startswith("chat.")
    assert first["regarding"] == {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "namespace": "models",
        "name": "chat",
        "uid": "uid-of-chat",
    }
    assert (first["type"], first["reason"], first["note"]) == ("Warning", "CrashLoop", "eu: bad flag")
    assert first["eventTime"].startswith("2026-01-01T00:00:")
    assert second["metadata"]["namespace"] == "default"
    assert "namespace" not in second["regarding"]


async def test_what_happens_again_within_ten_minutes_is_counted_and_the_next_event_says_how_often() -> None:
    writing = Writing()
    with running(writing):
        for _ in range(10):
            await writing.offer(CRASHED._replace(note="eu: other words"))
        await writing.offer(CRASHED._replace(region="us", note="us: bad flag"))
        await asyncio.sleep(SAME_FOR)
        await writing.offer(CRASHED._replace(note="n" * MAX_NOTE))
        await asyncio.sleep(SAME_FOR)
        await writing.offer(CRASHED)
    first, other, again, last = writing.client.created
    assert (first["note"], other["note"], last["note"]) == ("eu: other words", "us: bad flag", "eu: bad flag")
    assert again["note"].endswith("… (9 times more since 2026-01-01T00:00:00Z)")
    assert len(again["note"].encode()) == MAX_NOTE
    assert [event["metadata"]["name"] for event in writing.client.created] == sorted(
        event["metadata"]["name"] for event in writing.client.created
    ), "kubectl shows them in this order"
    assert (writing.outcome("written"), writing.outcome("counted")) == (4, 9)


async def test_what_comes_too_fast_waits_and_what_is_too_much_is_dropped() -> None:
    writing = Writing()
    for number in range(WAITING + 5):
        writing.recorder.offer(About(MODEL_DEPLOYMENTS, Key("models", "m"), f"uid-{number}"), [CRASHED])
    with running(writing):
        await asyncio.sleep(1)
        assert len(writing.client.created) < BURST + 20
        await asyncio.sleep(100)
    assert len(writing.client.created) == WAITING
    assert writing.outcome("dropped") == 5


async def test_a_refusal_harms_nobody_and_the_next_attempt_is_a_new_one() -> None:
    writing = Writing()
    with running(writing):
        writing.client.error = Forbidden("403")
        await writing.offer(CRASHED)
        writing.client.error = None
        await writing.offer(CRASHED)
    assert len(writing.client.created) == 1
    assert writing.outcome("failed") == 1


async def test_an_event_whose_answer_was_lost_is_counted_on() -> None:
    writing = Writing()
    with running(writing):
        writing.client.error = Conflict("409")
        await writing.offer(CRASHED)
        writing.client.error = None
        await writing.offer(CRASHED)
    assert writing.client.created == []
    assert (writing.outcome("written"), writing.outcome("counted")) == (1, 1)


async def test_who_does_not_lead_writes_none() -> None:
    writing = Writing()
    writing.lease.held = False
    with running(writing):
        await writing.offer(CRASHED)
    assert writing.client.created == []
    assert writing.outcome("dropped") == 1
