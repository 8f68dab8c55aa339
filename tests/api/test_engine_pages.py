"""The example of each engine's page: the API server takes it, and the plan keeps all that it asks for."""

from pathlib import Path

import pytest

from tests.api.cases import Object
from tests.api.examples import accepted, assert_stored, examples_of
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tomoul.api.enginetype import EngineType

PAGES = sorted(path for path in (REPOSITORY / "docs" / "engines").glob("*.md") if "```yaml" in path.read_text())
PAGES_AND_MORE = [*PAGES, REPOSITORY / "docs" / "adapters.md"]
REGION = {
    "kind": "Region",
    "metadata": {"name": "eu-west"},
    "spec": {"placement": {"accelerators": [{"name": "nvidia-h100"}, {"name": "nvidia-l4"}]}},
}


def example(page: Path) -> Object:
    (found,) = examples_of(page)
    return found


def test_every_engine_has_a_page_with_an_example() -> None:
    assert {example(page)["spec"]["engine"]["type"] for page in PAGES} == set(EngineType)


@pytest.mark.parametrize("page", PAGES_AND_MORE, ids=lambda page: page.stem)
def test_an_example_is_accepted_and_its_cache_policy_is_kept_as_asked(page: Path) -> None:
    found = example(page)
    policy = accepted(found, REGION).cache_policy
    assert policy is not None
    assert {"mode": policy.mode, "noStore": policy.no_store} == found["spec"]["cache"]


@pytest.mark.parametrize("page", PAGES_AND_MORE, ids=lambda page: page.stem)
def test_the_api_server_stores_an_example(page: Path, control_plane: ControlPlane) -> None:
    assert_stored(example(page), control_plane)
