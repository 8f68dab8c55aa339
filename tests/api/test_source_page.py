"""The examples of docs/sources.md, one for each source: the API server takes them, and the plan accepts them."""

import re
from typing import Any

import pytest
import yaml

from tests.api.cases import collection
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.plan.worlds import world_of
from tomoul.api.source import Source
from tomoul.plan.planner import plan
from tomoul.plan.world import Key

REGION = {
    "kind": "Region",
    "metadata": {"name": "eu-west"},
    "spec": {"jurisdiction": "EU", "placement": {"accelerators": [{"name": "nvidia-l4"}]}},
}


def examples() -> dict[str, dict[str, Any]]:
    """By the kind of their source."""
    page = (REPOSITORY / "docs" / "sources.md").read_text()
    found = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    return {next(kind for kind in each["spec"]["source"] if kind != "jurisdiction"): each for each in found}


def test_every_source_has_an_example() -> None:
    assert examples().keys() == Source.model_fields.keys() - {"jurisdiction"}


@pytest.mark.parametrize("kind", examples())
def test_an_example_is_accepted_by_the_plan(kind: str) -> None:
    found = examples()[kind]
    key = Key(found["metadata"]["namespace"], found["metadata"]["name"])
    (row,) = plan(world_of([{"settings": {}}, REGION, found])).models[key].status.regions
    conditions = {each.type: each for each in row.conditions}
    assert conditions["Accepted"].status == "True", conditions["Accepted"].message


@pytest.mark.parametrize("kind", examples())
def test_the_api_server_stores_an_example(kind: str, control_plane: ControlPlane) -> None:
    found = examples()[kind]
    found["metadata"]["namespace"] = "default"
    path = f"{collection(found)}/{found['metadata']['name']}"
    try:
        assert control_plane.api.apply(path, found, fieldValidation="Strict")["metadata"]["generation"] == 1
    finally:
        control_plane.api.delete(path)
