"""Monitors, alerts and dashboards, as the chart renders them. What they say is tested in tests/observability."""

import json

import pytest
import yaml

from tests.chart.helm import CHART, HelmError, Object, one, render
from tomoul.api.region import Region
from tomoul.plan.gateway import gateway
from tomoul.plan.settings import Settings

MONITORS = ("metrics.monitors.enabled=true", "metrics.scrapeNamespaces={monitoring}")
KINDS = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}


def test_nothing_of_it_is_there_unless_the_values_say_so() -> None:
    assert not [found for found in render() if found["kind"] in KINDS]


def test_the_monitors_select_what_there_is_to_scrape_by_ports_that_it_has() -> None:
    objects = render(*MONITORS, "metrics.monitors.labels.release=prometheus")
    monitor, service = (
        one(objects, "ServiceMonitor", "tomoul-operator"),
        one(objects, "Service", "tomoul-operator-metrics"),
    )
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {end["port"] for end in monitor["spec"]["endpoints"]} == {port["name"] for port in service["spec"]["ports"]}

    monitor = one(objects, "PodMonitor", "tomoul-gateway")
    region = Region.model_validate({"metadata": {"name": "eu-west"}, "spec": {}})
    template = gateway(region, Settings())[0]["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert set(monitor["spec"]["podTargetLabels"]) <= labels.keys()
    containers = [*template["spec"]["containers"], *template["spec"]["initContainers"]]
    ports = {port["name"] for container in containers for port in container["ports"]}
    assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} <= ports


def test_monitors_without_a_way_in_are_refused_with_the_value_that_opens_it() -> None:
    with pytest.raises(HelmError, match=r"metrics\.monitors\.enabled needs metrics\.scrapeNamespaces, such as"):
        render("metrics.monitors.enabled=true")


def test_the_rule_is_the_rules_file_with_the_runbooks_address() -> None:
    rule = one(
        render("metrics.alerts.enabled=true", "metrics.alerts.runbookUrl=https://wiki.example.com/tomoul"),
        "PrometheusRule",
        "tomoul",
    )
    file: Object = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    for group in file["groups"]:
        for alert in group["rules"]:
            annotations = alert["annotations"]
            annotations["runbook_url"] = f"https://wiki.example.com/tomoul#{alert['alert'].lower()}"
    assert rule["spec"] == file


def test_each_dashboard_is_a_config_map_for_grafanas_sidecar() -> None:
    objects = render("metrics.dashboards.enabled=true", "metrics.dashboards.annotations.grafana_folder=Tomoul")
    files = sorted((CHART / "files" / "dashboards").glob("*.json"))
    assert files
    for file in files:
        found = one(objects, "ConfigMap", f"tomoul-dashboard-{file.stem}")
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "Tomoul"}
        assert json.loads(found["data"][f"tomoul-{file.stem}.json"]) == json.loads(file.read_text())
