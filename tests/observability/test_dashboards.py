"""Each query of each panel, on a real Prometheus that scrapes a running operator and running gateways."""

import itertools
import math
import re

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY
from tests.observability.dashboards import Query, dashboards, panels, queries
from tests.observability.prometheus import Prometheus, Sample

PAGE = REPOSITORY / "docs" / "dashboards.md"
HEAD = """# Dashboards

The queries of the chart's Grafana dashboards (`metrics.dashboards.enabled`), panel by panel; `make dashboards` writes
them. A test asks each of a real Prometheus that scrapes an operator and two gateways with traffic.
"""


def values(prometheus: Prometheus, query: Query) -> list[Sample]:
    """Samples that are numbers; AssertionError if there are none."""
    found = [sample for sample in prometheus.query(query.promql) if not math.isnan(sample.value)]
    assert found, f"{query.dashboard}, {query.panel}: {query.promql}"
    return found


def test_every_panels_query_returns_series(request: pytest.FixtureRequest, prometheus: Prometheus) -> None:
    listed = queries()
    assert len(listed) > 40
    for query in listed:
        eventually(lambda query=query: values(prometheus, query), 40)
    assert prometheus.down() == []
    if request.config.getoption("--update-golden"):
        PAGE.write_text(rendered(listed))
    assert PAGE.read_text() == rendered(listed), "run `make dashboards`"


def rendered(listed: list[Query]) -> str:
    lines = [HEAD]
    for title, group in itertools.groupby(listed, key=lambda query: query.dashboard):
        lines += [f"## {title}", "", "| panel | query |", "| --- | --- |"]
        for query in group:
            cell = query.expression.replace("|", "\\|")
            lines.append(f"| {query.panel} | `{cell}` |")
        lines.append("")
    return "\n".join(lines)


def test_variables_offer_values_and_panels_use_no_others(prometheus: Prometheus) -> None:
    for name, dashboard in dashboards().items():
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)\}?", str(dashboard["panels"]))) - {"__rate_interval"}
        assert used == variables, name
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
                assert {sample.labels.get(label) for sample in prometheus.query(metric)} - {None}


def test_dashboards_and_panels_can_be_told_apart_and_do_not_cover_each_other() -> None:
    found = dashboards()
    assert set(found) == {"fleet", "model", "gateway"}
    assert len({dashboard["uid"] for dashboard in found.values()}) == len(found)
    for dashboard in found.values():
        every = dashboard["panels"]
        assert len({panel["id"] for panel in every}) == len(every)
        titles = [panel["title"] for panel in panels(dashboard)]
        assert all(titles)
        assert all(panel["description"] for panel in panels(dashboard))
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in every)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24
