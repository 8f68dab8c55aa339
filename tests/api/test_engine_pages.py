"""The example of each engine's page: the API server takes it, and the plan keeps all that it asks for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.cases import collection
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.plan.worlds import world_of
from tomoul.plan.planner import plan
from tomoul.plan.world import Key

PAGES = sorted(path for path in (REPOSITORY / "docs" / "engines").glob("*.md") if "```yaml" in path.read_text())
PAGES_AND_MORE = [*PAGES, REPOSITORY / "docs" / "adapters.md"]
REGION = {
    "kind": "Region",
    "metadata": {"name": "eu-west"},
    "spec": {"placement": {"accelerators": [{"name": "nvidia-h100"}, {"name": "nvidia-l4"}]}},
}


def example(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_every_engine_has_a_page_with_an_example() -> None:
    assert {example(page)["spec"]["engine"]["type"] for page in PAGES} == {"VLLM", "SGLang", "LlamaCpp", "Custom"}


@pytest.mark.parametrize("page", PAGES_AND_MORE, ids=lambda page: page.stem)
def test_an_example_is_accepted_and_its_cache_policy_is_kept_as_asked(page: Path) -> None:
    found = example(page)
    key = Key(found["metadata"]["namespace"], found["metadata"]["name"])
    (row,) = plan(world_of([{"settings": {}}, REGION, found])).models[key].status.regions
    conditions = {each.type: each for each in row.conditions}
    assert conditions["Accepted"].status == "True", conditions["Accepted"].message
    assert row.cache_policy is not None
    assert {"mode": row.cache_policy.mode, "noStore": row.cache_policy.no_store} == found["spec"]["cache"]


@pytest.mark.parametrize("page", PAGES_AND_MORE, ids=lambda page: page.stem)
def test_the_api_server_stores_an_example(page: Path, control_plane: ControlPlane) -> None:
    found = example(page)
    found["metadata"]["namespace"] = "default"
    path = f"{collection(found)}/{found['metadata']['name']}"
    try:
        assert control_plane.api.apply(path, found, fieldValidation="Strict")["metadata"]["generation"] == 1
    finally:
        control_plane.api.delete(path)
