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

The chart's Grafana dashboards (`metrics.dashboards.enabled`), panel by panel: the query, and what a real Prometheus
answered when it scraped a running operator, two gateways and their traffic in a test. The values are that run's;
`make dashboards` runs it again and writes this page. Variables stand for everything; `$__rate_interval` was a minute.
"""
SHOWN = 2


def values(prometheus: Prometheus, query: Query) -> list[Sample]:
    """Samples that are numbers; AssertionError if there are none."""
    found = [sample for sample in prometheus.query(query.promql) if not math.isnan(sample.value)]
    assert found, f"{query.dashboard}, {query.panel}: {query.promql}"
    return found


def test_every_panels_query_returns_series(request: pytest.FixtureRequest, prometheus: Prometheus) -> None:
    listed = queries()
    assert len(listed) > 40
    found = [(query, eventually(lambda query=query: values(prometheus, query), 40)) for query in listed]
    assert prometheus.down() == []
    page = rendered(found)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(page)
    assert without_values(PAGE.read_text()) == without_values(page), "run `make dashboards`"


def rendered(found: list[tuple[Query, list[Sample]]]) -> str:
    lines = [HEAD]
    for title, group in itertools.groupby(found, key=lambda item: item[0].dashboard):
        lines += [f"## {title}", "", "| panel | query | series | values |", "| --- | --- | --- | --- |"]
        for query, samples in group:
            ranked = sorted(samples, key=lambda sample: (-sample.value, sorted(sample.labels.items())))
            shown = ", ".join(f"`{label_text(sample)}` {sample.value:.4g}" for sample in ranked[:SHOWN])
            more = ", …" if len(samples) > SHOWN else ""
            cell = query.expression.replace("|", "\\|")
            lines.append(f"| {query.panel} | `{cell}` | {len(samples)} | {shown}{more} |")
        lines.append("")
    return "\n".join(lines)


def label_text(sample: Sample) -> str:
    return " ".join(text for name, text in sorted(sample.labels.items()) if name != "__name__" and text) or "-"


def without_values(page: str) -> list[str]:
    """Lines of the page, of the table's rows panel and query only."""
    return [re.sub(r"(?<!\\)\| [^|]* \| [^|]* \|$", "", line) for line in page.splitlines()]


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
