"""What pages ask of Prometheus, on a real one that scrapes an operator and gateways with traffic."""

import re

import pytest
import yaml

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY
from tests.observability.prometheus import Prometheus

DOCS = REPOSITORY / "docs"
OF_USAGE = re.findall(r"`(sum[ (][^`]*)`", (DOCS / "usage.md").read_text())


def test_the_usage_page_has_queries() -> None:
    assert len(OF_USAGE) == 2


@pytest.mark.parametrize("query", OF_USAGE)
def test_each_query_of_the_usage_page_is_answered(prometheus: Prometheus, query: str) -> None:
    eventually(lambda: prometheus.query(query), 40, query)


def test_the_rule_for_an_adapter_of_prometheus_names_the_deployment_of_each_pool(prometheus: Prometheus) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "scaling.md").read_text(), re.DOTALL)
    (rules,) = [yaml.safe_load(block.partition("# prometheus-adapter")[0]) for block in blocks if "- record:" in block]
    (rule,) = rules
    assert rule["record"] == "tomoul_requests_in_flight"
    found = eventually(lambda: prometheus.query(rule["expr"]), 40, rule["expr"])
    assert {"models"} <= {sample.labels["namespace"] for sample in found}
    for sample in found:
        assert re.fullmatch(r"[a-z0-9-]+-(eu-west|us-east)-[a-z0-9]{8}", sample.labels["deployment"]), sample
