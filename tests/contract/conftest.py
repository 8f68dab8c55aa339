"""One platform for all contract tests: the examples, and a model that can do nothing but talk."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.local.running import RunningPlatform, model, running, write

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    folder = tmp_path_factory.mktemp("contract")
    for example in EXAMPLES.glob("*.yaml"):
        shutil.copy(example, folder)
    write(folder / "bare.yaml", model("bare", {"eu-west": 1}))
    with running(folder) as served:
        yield served


@pytest.fixture(scope="package")
def client(platform: RunningPlatform) -> openai.OpenAI:
    return platform.client()


@pytest.fixture
def http(platform: RunningPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform.platform.url, timeout=20) as each:
        yield each
