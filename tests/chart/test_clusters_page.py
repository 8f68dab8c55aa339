"""docs/clusters.md: what it shows is taken by the chart and by a real API server as it stands."""

from typing import Any

import pytest
import yaml

from tests.chart.helm import ROOT, render
from tests.controlplane.harness import ControlPlane

BLOCKS = [
    yaml.safe_load(block.split("```")[0])
    for block in (ROOT / "docs" / "clusters.md").read_text().split("```yaml\n")[1:]
]
OBJECTS, VALUES = [each for each in BLOCKS if "kind" in each], [each for each in BLOCKS if "kind" not in each]


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: item["kind"])
def test_a_real_api_server_takes_every_object_of_the_page(
    control_plane: ControlPlane, namespace: str, item: dict[str, Any]
) -> None:
    if "namespace" in item["metadata"]:
        item = {**item, "metadata": {**item["metadata"], "namespace": namespace}}
    command = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    assert control_plane.kubectl(*command, input=yaml.safe_dump(item))


def test_the_chart_takes_all_values_of_the_page() -> None:
    assert len(VALUES) > 2
    for values in VALUES:
        assert render(tree=values)
