"""What the operator tells of itself and of what it observes, from objects as the API server returns them."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from tomoul.controller.acknowledgement import Acknowledgements
from tomoul.controller.figures import Figures
from tomoul.controller.gauges import NAMED_KEYS, OperatorGauges
from tomoul.controller.health import LONGEST_ELECTION_PAUSE, LONGEST_QUEUE_PAUSE, Health
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.lease import Lease
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue
from tomoul.plan.labels import engine_labels, gateway_labels
from tomoul.plan.naming import gateway_name
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

pytestmark = pytest.mark.looptime

Object = dict[str, Any]
API_VERSION = "tomoul.ai/v1alpha1"


@dataclass
class Operator:
    """An operator's eyes, its counters' ears and a clock."""

    observed: Observed = field(default_factory=lambda: Observed(Settings(hosted_regions=frozenset({"eu"}))))
    accepted: list[tuple[str, float]] = field(default_factory=list)
    now: float = 100.0
    version: int = 0

    def __post_init__(self) -> None:
        self.acknowledgements = Acknowledgements(
            self.observed, lambda region, seconds: self.accepted.append((region, seconds)), monotonic=lambda: self.now
        )
        self.observed.listener = self.acknowledgements

    def see(self, item: Object, gone: bool = False) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        store = next(store for resource, store in self.observed.stores.items() if resource.kind == item["kind"])
        (store.remove if gone else store.put)(item)

    def values(self) -> dict[str, float]:
        """Values by name and labels."""
        found = {}
        for metric in Figures(self.observed, self.acknowledgements).collect():
            for sample in metric.samples:
                found[" ".join([sample.name.removeprefix("tomoul_"), *sample.labels.values()])] = sample.value
        return found


def meta(name: str, namespace: str = "", **more: Any) -> Object:
    return {"name": name, "uid": f"uid-{name}", "generation": 1, "namespace": namespace, **more}


def table(generation: int, **accepted: int) -> Object:
    gateways = [{"name": name, "acceptedGeneration": number} for name, number in accepted.items()]
    return {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": meta("eu", generation=generation),
        "spec": {"region": "eu"},
        "status": {"gateways": gateways},
    }


def gateway(name: str, ready: bool = True) -> Object:
    labels = {**gateway_labels("eu"), "pod-template-hash": "1"}
    owner = {"kind": "ReplicaSet", "name": f"{gateway_name('eu')}-1"}
    return {
        "kind": "Pod",
        "metadata": meta(name, "tomoul-system", labels=labels, ownerReferences=[owner]),
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def deployment(name: str, labels: Object, replicas: int, ready: int) -> Object:
    return {
        "kind": "Deployment",
        "metadata": meta(name, "models", labels=labels),
        "spec": {"replicas": replicas},
        "status": {"readyReplicas": ready},
    }


def ready(status: str, reason: str) -> list[Object]:
    return [{"type": "Ready", "status": status, "reason": reason}]


def test_a_table_waits_until_every_live_gateway_has_accepted_its_generation_or_a_later_one() -> None:
    operator = Operator()
    operator.see(gateway("a"))
    operator.see(gateway("b"))
    operator.see(table(3, a=3, b=2))
    assert operator.acknowledgements.lags() == {"eu": 0}, "nobody knows since when 3 has waited"
    operator.see(table(4, a=3, b=3))
    operator.now += 2
    operator.see(table(5, a=3, b=3))
    operator.now += 1
    assert operator.acknowledgements.lags() == {"eu": 3}
    operator.see(table(5, a=5, b=4))
    assert operator.acknowledgements.lags() == {"eu": 1}
    operator.see(table(5, a=5, b=5))
    assert operator.accepted == [("eu", 3), ("eu", 1)]
    assert operator.values()["route_acknowledgement_lag_seconds eu"] == 0


def test_a_gateway_that_dies_holds_up_nobody_and_without_gateways_nobody_is_late() -> None:
    operator = Operator()
    operator.see(table(1, a=1))
    operator.see(gateway("a"))
    operator.see(gateway("b"))
    operator.see(table(2, a=2))
    operator.now += 5
    assert operator.acknowledgements.lags() == {"eu": 5}, "b has accepted nothing"
    operator.see(gateway("b"), gone=True)
    assert operator.accepted == [("eu", 5)]
    operator.see(table(3, a=2))
    operator.see(gateway("a", ready=False))
    operator.now += 60
    assert operator.acknowledgements.lags() == {"eu": 0}
    operator.see(table(3), gone=True)
    assert operator.acknowledgements.lags() == {}


def test_regions_hosted_here_and_their_models_have_figures_and_others_have_none() -> None:
    operator = Operator()
    for name in ("eu", "elsewhere"):
        status = {
            "conditions": ready("True", "Ready"),
            "accelerators": [{"name": "h100", "allocatable": 8, "requested": 3}],
        }
        item = {"apiVersion": API_VERSION, "kind": "Region", "metadata": meta(name), "spec": {}, "status": status}
        operator.see(item)
    intended = (("four", "ScaledToZero"), ("five", "RolloutInProgress"))
    for name, reason in (("one", "Ready"), ("two", "Unschedulable"), ("three", "Unschedulable"), *intended):
        rows = [{"name": region, "conditions": ready(str(reason == "Ready"), reason)} for region in ("eu", "elsewhere")]
        operator.see(
            {
                "apiVersion": API_VERSION,
                "kind": "ModelDeployment",
                "metadata": meta(name, "models"),
                "spec": {
                    "model": {"id": f"acme/{name}"},
                    "source": {"file": {"path": "/models/a.gguf"}},
                    "engine": {"type": "LlamaCpp"},
                    "regions": [{"name": "eu"}, {"name": "elsewhere"}],
                },
                "status": {"regions": rows},
            }
        )
    for name, replicas, count in (("one-eu", 2, 2), ("two-eu", 3, 0)):
        operator.see(deployment(name, engine_labels(name, "eu", "default"), replicas, count))
    operator.see(deployment("gateway-eu", gateway_labels("eu"), 2, 1))
    assert operator.values() == {
        "region_ready eu": 1,
        "table_withheld eu": 0,
        "region_gpus eu h100 allocatable": 8,
        "region_gpus eu h100 requested": 3,
        "region_replicas eu desired": 5,
        "region_replicas eu ready": 2,
        "region_gateways eu desired": 2,
        "region_gateways eu ready": 1,
        "model_ready models one acme/one eu": 1,
        "model_ready models two acme/two eu": 0,
        "model_ready models three acme/three eu": 0,
        "region_models eu Ready": 1,
        "region_models eu Unschedulable": 2,
        "region_models eu ScaledToZero": 1,
        "region_models eu RolloutInProgress": 1,
        "region_models eu DownloadStalled": 0,
    }


def lease() -> Lease:
    return Lease(None, Key("tomoul-system", "lease"), "me")  # type: ignore[arg-type]


async def test_keys_that_keep_failing_are_told_by_name_the_worst_first_and_never_more_than_a_few() -> None:
    queue: WorkQueue[WorkKey] = WorkQueue()
    for number in range(NAMED_KEYS + 5):
        for _ in range(number + 1):
            queue.retry(WorkKey(Kind.MODEL, "models", f"m{number}"))
    queue.retry(WorkKey(Kind.REGION, "", "eu"))
    families = {family.name: family for family in OperatorGauges(Operator().observed, queue, lease()).collect()}
    failing = {sample.labels["kind"]: sample.value for sample in families["tomoul_failing_keys"].samples}
    assert failing == {"model": NAMED_KEYS + 5, "region": 1, "table": 0, "tenant": 0, "key_access": 0}
    named = {sample.labels["object"]: sample.value for sample in families["tomoul_key_failures"].samples}
    assert named == {f"m{number}": number + 1 for number in range(5, NAMED_KEYS + 5)}


async def test_an_operator_whose_workers_or_election_stand_still_is_told_dead_by_what_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    queue: WorkQueue[WorkKey] = WorkQueue(now=lambda: now)
    election = lease()
    health = Health(Operator().observed, queue, election, Gauge("lag", "", registry=CollectorRegistry()), 600)
    assert health.alive() == ""
    assert health.ready().startswith("not listed yet: regions, nodes, ")
    queue.add(WorkKey(Kind.REGION, "", "eu"))
    now += LONGEST_QUEUE_PAUSE + 1
    assert health.alive() == "", "a standby's keys wait for ever"
    monkeypatch.setattr(Lease, "held", True)
    assert health.alive() == "", "workers begin once everything is listed"
    monkeypatch.setattr(Observed, "synced", True)
    assert health.alive() == "1 keys wait, and no worker has moved for 601 s"
    queue.done(await queue.get())
    assert health.alive() == ""
    election.attempted -= LONGEST_ELECTION_PAUSE + 5
    assert health.alive() == "the lease has been neither renewed nor asked for since 125 s"
