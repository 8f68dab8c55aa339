"""Scenarios: what a world leads to, as YAML that can be read and reviewed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import check_golden, scenarios
from tests.plan.worlds import load_world
from tomoul.api.meta import LABEL_REGION
from tomoul.plan.planner import plan
from tomoul.plan.world import Manifest, World


@pytest.mark.parametrize("folder", scenarios("plan"), ids=lambda folder: folder.name)
def test_the_plan_of_a_scenario_is_the_one_on_file(folder: Path, request: pytest.FixtureRequest) -> None:
    check_golden(request, folder, rendered(load_world(folder / "in.yaml")))


def rendered(world: World) -> dict[str, Any]:
    """Per region its workloads and its table; the statuses; what belongs to no region; and the gateways only in
    scenarios without models.
    """
    desired = plan(world)
    outputs: dict[str, Any] = {}
    for name in sorted(world.regions):
        workloads = [
            obj
            for planned in desired.models.values()
            for obj in planned.objects
            if obj["metadata"]["labels"][LABEL_REGION] == name
        ]
        if workloads:
            outputs[f"{name}.workloads"] = workloads
        if desired.regions[name].objects and not world.models:
            outputs[f"{name}.gateways"] = [without_bootstrap(obj) for obj in desired.regions[name].objects]
        if name in desired.tables:
            outputs[f"{name}.routing-table"] = desired.tables[name]
    if shared := [obj for obj in desired.objects if LABEL_REGION not in obj["metadata"]["labels"]]:
        outputs["key-access"] = shared
    statuses = {
        "models": {f"{key.namespace}/{key.name}": planned.status for key, planned in desired.models.items()},
        "regions": {name: planned.status for name, planned in desired.regions.items()},
        "tenants": {f"{key.namespace}/{key.name}": status for key, status in desired.tenants.items()},
    }
    outputs["statuses"] = {
        kind: {
            name: brief(status.model_dump(mode="json", by_alias=True, exclude_none=True))
            for name, status in found.items()
        }
        for kind, found in statuses.items()
        if found
    }
    # Through JSON, so that what several objects share is written out in each.
    return {name: json.loads(json.dumps(output)) for name, output in outputs.items()}


def without_bootstrap(obj: Manifest) -> Manifest:
    """The object without the text of Envoy's bootstrap, which has tests of its own."""
    if obj["kind"] != "Deployment":
        return obj
    copy = json.loads(json.dumps(obj))
    args = copy["spec"]["template"]["spec"]["containers"][0]["args"]
    index = args.index("--config-yaml") + 1
    assert "ads.sock" in json.dumps(json.loads(args[index])["static_resources"]["clusters"])
    args[index] = "(envoy_bootstrap)"
    return copy


def brief(value: Any) -> Any:
    """A status with each condition on one line: `Ready: False NoReplicaReady: 0 of 1 …`."""
    if isinstance(value, dict):
        return {name: lines(entry) if name == "conditions" else brief(entry) for name, entry in value.items()}
    return [brief(entry) for entry in value] if isinstance(value, list) else value


def lines(conditions: list[dict[str, Any]]) -> dict[str, str]:
    return {
        entry["type"]: f"{entry['status']} {entry['reason']}" + (f": {entry['message']}" if entry["message"] else "")
        for entry in conditions
    }
