"""What calls get while a region's engines are gone. These tests change the platform, so each has one of its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.local.running import RunningPlatform, ask, model, region, running, write
from tests.local.waiting import until

FALLBACK = {"fallback": ["east", "west"]}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(tmp_path / "regions.yaml", region("east"), region("west"))
    write(tmp_path / "chat.yaml", model("chat", {"east": 2, "west": 1}, routing=FALLBACK))
    return tmp_path


@pytest.fixture
def served(files: Path) -> Iterator[RunningPlatform]:
    with running(files) as platform:
        yield platform


def refused_for_capacity(client: openai.OpenAI, pin: str | None) -> None:
    with pytest.raises(openai.InternalServerError) as error:
        ask(client, "test/chat", pin)
    assert error.value.status_code == 503
    assert error.value.code == "region_capacity_unavailable"
    assert 0 < int(error.value.response.headers["retry-after"]) <= 60
    assert error.value.response.headers["x-tomoul-region"] == (pin or "east")


def test_without_engines_here_an_unpinned_call_goes_on_to_the_next_region_and_a_pinned_one_is_503(
    files: Path, served: RunningPlatform
) -> None:
    write(files / "chat.yaml", model("chat", {"east": 0, "west": 1}, routing=FALLBACK))
    served.until_settled(lambda platform: len(platform.engines) == 1)
    client = served.client()
    assert ask(client, "test/chat")[1] == "west"
    refused_for_capacity(client, "east")
    refused_for_capacity(served.client("west"), "east")
    assert ask(client, "test/chat", "west")[1] == "west"
    write(files / "chat.yaml", model("chat", {"east": 1, "west": 1}, routing=FALLBACK))
    served.until_settled(lambda platform: len(platform.engines) == 2)
    assert ask(client, "test/chat")[1] == "east"


def test_without_engines_anywhere_an_unpinned_call_is_503(files: Path, served: RunningPlatform) -> None:
    write(files / "chat.yaml", model("chat", {"east": 0, "west": 0}, routing=FALLBACK))
    served.until_settled(lambda platform: not platform.engines)
    refused_for_capacity(served.client(), "west")
    with pytest.raises(openai.InternalServerError) as error:
        ask(served.client(), "test/chat")
    assert error.value.code == "region_capacity_unavailable"


def test_a_model_without_fallback_never_leaves_its_region(files: Path, served: RunningPlatform) -> None:
    write(files / "chat.yaml", model("chat", {"east": 0, "west": 1}))
    served.until_settled(lambda platform: len(platform.engines) == 1)
    refused_for_capacity(served.client(), None)


def test_killing_the_engines_of_a_region_fails_no_unpinned_call_and_no_pinned_call_leaves_it(
    served: RunningPlatform,
) -> None:
    answered: list[str] = []
    pinned: list[str] = []
    refusals: list[str] = []
    failures: list[Exception] = []
    stop = threading.Event()

    def call() -> None:
        client = served.client()
        while not stop.is_set():
            try:
                answered.append(ask(client, "test/chat")[1])
            except openai.APIError as error:
                failures.append(error)
            try:
                pinned.append(ask(client, "test/chat", "east")[1])
            except openai.InternalServerError:
                refusals.append("east")

    caller = threading.Thread(target=call)
    caller.start()
    until(lambda: len(answered) > 5, "calls before")
    served.kill(*served.engines("east"))
    until(lambda: "west" in answered, "an answer from the other region")
    served.until_settled(lambda platform: all(engine.process.starts == 2 for engine in served.engines("east")))
    count = len(answered)
    until(lambda: "east" in answered[count:], "the region's return")
    stop.set()
    caller.join()
    assert not [error for error in failures if getattr(error, "code", "") == "region_capacity_unavailable"]
    assert len(failures) <= 1, "only a call that was running when its engine was killed may fail"
    assert set(pinned) == {"east"}
    assert refusals, "while nothing was ready there, pinned calls were refused"


def test_the_kill_of_one_of_two_replicas_leaves_the_pool_serving(served: RunningPlatform) -> None:
    client = served.client()
    killed = served.engines("east")[0]
    served.kill(killed)
    until(lambda: killed.process.last_exit is not None, "its end")
    for _ in range(20):
        assert ask(client, "test/chat", "east")[1] == "east"
