"""The chart's dashboards and alerts, as far as tests look at them."""

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.controlplane.harness import REPOSITORY

FILES = REPOSITORY / "charts" / "tomoul" / "files"
Object = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One target of a panel."""

    dashboard: str
    panel: str
    expression: str
    """As Grafana has it, with its variables."""

    @property
    def promql(self) -> str:
        """With what Grafana puts in the place of its variables, everything selected."""
        return re.sub(r"\$\{?(region|model)\}?", ".*", self.expression.replace("$__rate_interval", "1m"))


def dashboards() -> dict[str, Object]:
    """Dashboards by file name without ending."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((FILES / "dashboards").glob("*.json"))}


def panels(dashboard: Object) -> list[Object]:
    """Panels that show something: all but rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every query of every panel, in their order."""
    return [
        Query(dashboard["title"], panel["title"], target["expr"])
        for dashboard in dashboards().values()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def rules() -> Object:
    """The rules file."""
    found: Object = yaml.safe_load((FILES / "alerts.yaml").read_text())
    return found


def alerts() -> list[Object]:
    """Alerts of all groups."""
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def without_patience() -> Object:
    """The rules, with alerts that fire as soon as their expression holds."""
    found = rules()
    for group in found["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    return found


def selectors(expression: str) -> set[str]:
    """The metric selectors of an expression, without ranges."""
    return set(re.findall(r"\b(?:tomoul_(?!ai_)|envoy_)\w+(?:\{[^}]*\})?", expression))
