"""The examples of docs/sources.md, one for each source: the API server takes them, and the plan accepts them."""

import re

import pytest

from tests.api.cases import Object
from tests.api.examples import accepted, assert_stored, examples_of
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tomoul.api.source import Source
from tomoul.plan.loading import LoadFailure

REGION = {
    "kind": "Region",
    "metadata": {"name": "eu-west"},
    "spec": {"jurisdiction": "EU", "placement": {"accelerators": [{"name": "nvidia-l4"}]}},
}


def examples() -> dict[str, Object]:
    """By the kind of their source."""
    found = examples_of(REPOSITORY / "docs" / "sources.md")
    return {next(kind for kind in each["spec"]["source"] if kind != "jurisdiction"): each for each in found}


def test_every_source_has_an_example() -> None:
    assert examples().keys() == Source.model_fields.keys() - {"jurisdiction"}


def test_every_exit_code_of_the_loader_is_told_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "sources.md").read_text()
    told = page.split("by its exit code: ")[1].split(".\n")[0]
    assert sorted(int(code) for code in re.findall(r"\d+", told)) == sorted(LoadFailure)


@pytest.mark.parametrize("kind", examples())
def test_an_example_is_accepted_by_the_plan(kind: str) -> None:
    accepted(examples()[kind], REGION)


@pytest.mark.parametrize("kind", examples())
def test_the_api_server_stores_an_example(kind: str, control_plane: ControlPlane) -> None:
    assert_stored(examples()[kind], control_plane)
