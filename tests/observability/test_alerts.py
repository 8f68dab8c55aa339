"""The alert rules: read by promtool, their metrics looked for on a real Prometheus, their faults as made-up series."""

import re
from pathlib import Path

import yaml

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY
from tests.observability.dashboards import FILES, alerts, selectors
from tests.observability.prometheus import Prometheus, promtool


def test_promtool_accepts_the_rules() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", FILES / "alerts.yaml")


def test_every_alert_has_a_section_in_the_runbook_and_names_it_and_says_what_it_means() -> None:
    sections = re.findall(r"^### (\w+)$", (REPOSITORY / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sections == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert {"summary", "description"} < alert["annotations"].keys()


def test_every_alerts_metrics_are_there_while_all_is_well(prometheus: Prometheus) -> None:
    for alert in alerts():
        found = selectors(alert["expr"])
        assert found, alert
        for selector in found:
            eventually(lambda selector=selector: prometheus.query(selector), 40, f"{alert['alert']}: {selector}")
        prometheus.query(alert["expr"])


UNIT_TESTS = {
    # alert: (series while it should fire, series while it should not), a value a minute
    "TomoulNoLeader": ({"tomoul_leader": "0x25"}, {"tomoul_leader": "1x25"}),
    "TomoulTwoLeaders": (
        {'tomoul_leader{pod="a"}': "1x25", 'tomoul_leader{pod="b"}': "1x25"},
        {'tomoul_leader{pod="a"}': "1x25", 'tomoul_leader{pod="b"}': "0x25"},
    ),
    "TomoulReconcileBug": (
        {'tomoul_reconciles_total{kind="model",outcome="bug"}': "0+1x25"},
        {
            'tomoul_reconciles_total{kind="model",outcome="bug"}': "3x25",
            'tomoul_reconciles_total{kind="model",outcome="done"}': "0+1x25",
        },
    ),
    "TomoulKeyKeepsFailing": ({'tomoul_key_failures{object="a"}': "9x25"}, {'tomoul_key_failures{object="a"}': "3x25"}),
    "TomoulQueueStalled": (
        {'tomoul_queue_oldest_seconds{instance="a"}': "600x25", 'tomoul_leader{instance="a"}': "1x25"},
        {'tomoul_queue_oldest_seconds{instance="a"}': "600x25", 'tomoul_leader{instance="a"}': "0x25"},
    ),
    "TomoulWatchMisses": (
        {'tomoul_watch_missed_total{kind="Pod"}': "0+1x25"}, {'tomoul_watch_missed_total{kind="Pod"}': "0+0.1x25"},
    ),
    "TomoulListsFail": (
        {'tomoul_resyncs_total{kind="Pod",outcome="failed"}': "0+0.2x25"},
        {'tomoul_resyncs_total{kind="Pod",outcome="done"}': "0+0.2x25"},
    ),
    "TomoulRegionNotReady": ({'tomoul_region_ready{region="a"}': "0x25"}, {'tomoul_region_ready{region="a"}': "1x25"}),
    "TomoulNoLiveGateway": (
        {
            'tomoul_region_gateways{region="a",state="ready"}': "0x25",
            'tomoul_region_gateways{region="a",state="desired"}': "2x25",
        },
        {
            'tomoul_region_gateways{region="a",state="ready"}': "0x25",
            'tomoul_region_gateways{region="a",state="desired"}': "0x25",
        },
    ),
    "TomoulRoutesNotAcknowledged": (
        {'tomoul_route_acknowledgement_lag_seconds{region="a"}': "90x25"},
        {'tomoul_route_acknowledgement_lag_seconds{region="a"}': "5x25"},
    ),
    "TomoulTableWithheld": (
        {'tomoul_table_withheld{region="a"}': "1x25", 'tomoul_tables_withheld_total{region="a"}': "1x25"},
        {'tomoul_table_withheld{region="a"}': "0x25", 'tomoul_tables_withheld_total{region="a"}': "1x25"},
    ),
    "TomoulModelNotReady": ({'tomoul_model_ready{object="a"}': "0x25"}, {'tomoul_model_ready{object="a"}': "1x25"}),
    "TomoulDownloadStalled": (
        {'tomoul_region_models{region="a",reason="DownloadStalled"}': "1x25"},
        {'tomoul_region_models{region="a",reason="ModelLoading"}': "1x25"},
    ),
    "TomoulModelsWaitForGpus": (
        {'tomoul_region_models{region="a",reason="Unschedulable"}': "1x25"},
        {'tomoul_region_models{region="a",reason="Ready"}': "1x25"},
    ),
    "TomoulGatewayNotScraped": (
        {'tomoul_region_gateways{region="a",state="ready"}': "2x25", 'tomoul_agent_connected_envoys{pod="a"}': "1x25"},
        {'tomoul_region_gateways{region="a",state="ready"}': "1x25", 'tomoul_agent_connected_envoys{pod="a"}': "1x25"},
    ),
    "TomoulGatewayWithoutEnvoy": (
        {'tomoul_agent_connected_envoys{pod="a"}': "0x25"}, {'tomoul_agent_connected_envoys{pod="a"}': "1x25"},
    ),
    "TomoulConfigurationRefused": (
        {'tomoul_agent_rejections_total{pod="a"}': "0+1x25"}, {'tomoul_agent_rejections_total{pod="a"}': "4x25"},
    ),
    "TomoulAgentCutOff": (
        {'tomoul_agent_last_event_age_seconds{pod="a"}': "400x25"},
        {'tomoul_agent_last_event_age_seconds{pod="a"}': "60x25"},
    ),
    "TomoulGatewayHeapFull": (
        {'envoy_overload_envoy_resource_monitors_fixed_heap_pressure{pod="a"}': "95x25"},
        {'envoy_overload_envoy_resource_monitors_fixed_heap_pressure{pod="a"}': "50x25"},
    ),
    "TomoulCallsFail": (
        {'envoy_tomoul_calls_total{status="503"}': "0+6x25", 'envoy_tomoul_calls_total{status="200"}': "0+60x25"},
        {'envoy_tomoul_calls_total{status="404"}': "0+6x25", 'envoy_tomoul_calls_total{status="200"}': "0+60x25"},
    ),
    "TomoulNoCapacity": (
        {'envoy_tomoul_calls_total{code="region_capacity_unavailable"}': "0+1x25"},
        {'envoy_tomoul_calls_total{code="region_capacity_unavailable"}': "7x25"},
    ),
    "TomoulFirstTokenSlow": (
        {'envoy_tomoul_ttft_ms_bucket{le="10000"}': "0+1x25", 'envoy_tomoul_ttft_ms_bucket{le="30000"}': "0+10x25",
         'envoy_tomoul_ttft_ms_bucket{le="+Inf"}': "0+10x25"},
        {'envoy_tomoul_ttft_ms_bucket{le="10000"}': "0+10x25", 'envoy_tomoul_ttft_ms_bucket{le="30000"}': "0+10x25",
         'envoy_tomoul_ttft_ms_bucket{le="+Inf"}': "0+10x25"},
    ),
    "TomoulNoStoreRefused": (
        {'envoy_tomoul_no_store_calls_total{code="cache_policy_unsatisfiable"}': "0+1x25"},
        {'envoy_tomoul_no_store_calls_total{code=""}': "0+1x25"},
    ),
}  # fmt: skip


def test_every_alert_fires_by_its_fault_and_not_without_it(tmp_path: Path) -> None:
    assert UNIT_TESTS.keys() == {alert["alert"] for alert in alerts()}
    tests = []
    for name, cases in UNIT_TESTS.items():
        for series, fires in zip(cases, (True, False), strict=True):
            tests.append(
                {
                    "name": f"{name} {'fires' if fires else 'is silent'}",
                    "interval": "1m",
                    "input_series": [{"series": key, "values": value} for key, value in series.items()],
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                            "eval_time": "20m",
                            "exp_samples": [{"value": 1}] if fires else [],
                        }
                    ],
                }
            )
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FILES / "alerts.yaml")], "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", file)
