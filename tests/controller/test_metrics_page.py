"""docs/metrics.md lists what operator and agent tell, and nothing else."""

import re
from pathlib import Path

from prometheus_client import Metric

from tomoul.controller.acknowledgement import Acknowledgements
from tomoul.controller.figures import Figures
from tomoul.controller.gauges import OperatorGauges
from tomoul.controller.lease import Lease
from tomoul.controller.metrics import Metrics, loop_lag
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue
from tomoul.gateway.agent.ads import AdsServer
from tomoul.gateway.agent.metrics import AgentMetrics
from tomoul.kube.resources import ENDPOINT_SLICES, ROUTING_TABLES
from tomoul.kube.store import Store
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(tomoul_\w+)` \| (\w+) \| ", re.MULTILINE)


def listed(families: list[Metric]) -> set[tuple[str, str]]:
    return {(f"{found.name}_total" if found.type == "counter" else found.name, found.type) for found in families}


def test_the_page_lists_every_metric_of_operator_and_agent_and_no_other(tmp_path: Path) -> None:
    observed, metrics = Observed(Settings()), Metrics()
    loop_lag(metrics.registry)
    lease = Lease(None, Key("a", "b"), "me")  # type: ignore[arg-type]
    agent = AgentMetrics(
        AdsServer(tmp_path / "ads.sock"),
        Store(ROUTING_TABLES, lambda item: item),  # type: ignore[arg-type, return-value]
        Store(ENDPOINT_SLICES, lambda item: item),  # type: ignore[arg-type, return-value]
    )
    told = [
        *metrics.registry.collect(),
        *OperatorGauges(observed, WorkQueue(), lease).collect(),
        *Figures(observed, Acknowledgements(observed, lambda region, seconds: None)).collect(),
        *agent.registry.collect(),
    ]
    assert set(ROW.findall(PAGE.read_text())) == listed(told)
