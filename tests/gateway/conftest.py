from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.harness import Gateway
from tests.gateway.regions import Regions
from tests.gateway.two_regions import Platform
from tests.gateway.wire import Answer, FakeEngine, call

Chat = Callable[..., Answer]


@pytest.fixture(scope="session")
def shared_platform() -> Iterator[Platform]:
    platform = Platform()
    yield platform
    logs = platform.eu.log() + platform.us.log()
    platform.stop()
    assert "tomoul: " not in logs, logs


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    shared_platform.restore()
    return shared_platform


@pytest.fixture
def chat(platform: Platform) -> Chat:
    """Call eu-west: `chat(model, region=…, cache=…, body fields…)`."""

    def chat(model: str = "acme/both", region: str | None = None, cache: str | None = None, **fields: Any) -> Answer:
        headers = [("X-Tomoul-Region", region)] if region is not None else []
        headers += [("X-Tomoul-Cache", cache)] if cache is not None else []
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
        return call(platform.eu.port, body=body, headers=headers)

    return chat


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine of one's own, that runs."""
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway of eu-west of one's own, with nothing published yet."""
    gateway = Gateway()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def shared_regions() -> Iterator[Regions]:
    regions = Regions()
    yield regions
    logs = regions.eu.log() + regions.us.log()
    output = regions.eu.output.read_text() + regions.us.output.read_text()
    regions.stop()
    assert "bug" not in logs, logs
    assert "sk-" not in logs + output, "a key is in a log"


@pytest.fixture
def regions(shared_regions: Regions) -> Regions:
    shared_regions.reset()
    return shared_regions
