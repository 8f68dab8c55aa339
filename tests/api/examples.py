"""Examples of the documentation's pages: what the plan says of one, and that the API server takes it."""

import re
from pathlib import Path

import yaml

from tests.api.cases import Object, collection
from tests.controlplane.harness import ControlPlane
from tests.plan.worlds import world_of
from tomoul.api.modelstatus import RegionModelStatus
from tomoul.plan.planner import plan
from tomoul.plan.world import Key


def examples_of(page: Path) -> list[Object]:
    """All YAML of a page, in its order."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]


def accepted(example: Object, region: Object) -> RegionModelStatus:
    """The row of the one region in a ModelDeployment's status, once the plan has accepted it."""
    key = Key(example["metadata"]["namespace"], example["metadata"]["name"])
    (row,) = plan(world_of([{"settings": {}}, region, example])).models[key].status.regions
    conditions = {each.type: each for each in row.conditions}
    assert conditions["Accepted"].status == "True", conditions["Accepted"].message
    return row


def assert_stored(example: Object, control_plane: ControlPlane) -> None:
    """The API server takes it as it is, without a field that it does not know."""
    example["metadata"]["namespace"] = "default"
    path = f"{collection(example)}/{example['metadata']['name']}"
    try:
        assert control_plane.api.apply(path, example, fieldValidation="Strict")["metadata"]["generation"] == 1
    finally:
        control_plane.api.delete(path)
