"""What comes of the examples, and of regions as a whole."""

import base64
import time

from tests.controlplane.api import eventually
from tests.integration.cluster import REGIONS, SYSTEM, Cluster, model
from tests.integration.operators import COLLECTIONS, children, condition, path, versions


def test_the_examples_run_on_their_regions_nodes_with_the_gpus_that_they_ask_for(examples: Cluster) -> None:
    def placed() -> None:
        pods = examples.api.get("/api/v1/namespaces/models/pods")["items"]
        found = sorted((pod["metadata"]["labels"]["tomoul.ai/region"], pod["spec"].get("nodeName", "")) for pod in pods)
        assert found == [("eu-west", "gpu-eu-west")] * 4 + [("us-east", "gpu-us-east")] * 2
        for pod in pods:
            assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"

    eventually(lambda: [placed()])
    assert {item["kind"] for item in examples.of("tiny-chat", "models")} == {
        "Deployment",
        "Service",
        "ServiceAccount",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    for region in REGIONS:
        eventually(lambda region=region: len(examples.gateway_pods(region)) == 2)


def test_models_regions_and_their_figures_become_ready(examples: Cluster) -> None:
    chat = examples.ready("tiny-chat", "models")
    assert chat["status"]["readyRegions"] == "2/2"
    assert chat["status"]["observedGeneration"] == chat["metadata"]["generation"]
    examples.ready("tiny-solo", "models")

    def figures() -> None:
        region = examples.get("Region", "eu-west")
        assert condition(region, "Ready")["status"] == "True", region["status"]
        assert region["status"]["models"] == "2/2"
        gpus = {"allocatable": 8, "requested": 4, "free": 4, "mostFree": 4}
        assert region["status"]["accelerators"] == [{"name": "nvidia-l4", **gpus}]
        assert [gateway["name"] for gateway in region["status"]["gateways"]] == examples.gateway_pods("eu-west")

    eventually(lambda: [figures()])


def test_an_operator_that_finds_the_world_as_it_left_it_writes_nothing(examples: Cluster) -> None:
    examples.ready("tiny-chat", "models")
    examples.ready("tiny-solo", "models")

    def settled() -> bool:
        before = versions(examples.api)
        time.sleep(2)  # longer than every delay that the operator gives its keys
        return versions(examples.api) == before

    eventually(settled, 40)
    assert examples.leader.stop() == 0
    before = versions(examples.api)
    examples.leader = examples.start()
    eventually(examples.leader.leads, 60)
    expected = len(examples.api.get(COLLECTIONS["ModelDeployment"])["items"]) + 2 * len(REGIONS)

    def reconciled() -> bool:
        metrics = examples.leader.metrics()
        done = sum(value for name, value in metrics.items() if name.startswith("tomoul_reconciles_total"))
        return done >= expected and metrics["tomoul_queue_depth"] == 0

    eventually(reconciled)
    assert examples.leader.writes() == {}
    assert versions(examples.api) == before


def test_routes_are_programmed_only_once_every_live_gateway_has_accepted_them(
    examples: Cluster, namespace: str
) -> None:
    def programmed(region: str) -> tuple[str, str]:
        found = condition(examples.model("routed", namespace), "RoutesProgrammed", region)
        return found["status"], found["reason"]

    examples.apply(model("routed", namespace))
    eventually(lambda: programmed("eu-west") == ("False", "WaitingForGateways"))
    eventually(lambda: f"{namespace}/routed" in examples.routed("eu-west"))
    first, second = eventually(lambda: examples.gateway_pods("eu-west"))
    examples.acknowledge("eu-west", [first])

    def waits_for_the_second() -> None:
        row = condition(examples.model("routed", namespace), "RoutesProgrammed", "eu-west")
        assert row["status"] == "False"
        assert second in row["message"]
        assert first not in row["message"]

    eventually(lambda: [waits_for_the_second()])
    examples.acknowledge("eu-west", [second])
    eventually(lambda: programmed("eu-west") == ("True", "Acknowledged"))
    eventually(lambda: programmed("us-east")[0] == "False")  # nobody has acknowledged there


def test_entries_of_gateways_that_are_gone_leave_the_table(examples: Cluster) -> None:
    examples.acknowledge_all()
    examples.acknowledge("eu-west", ["tomoul-gateway-eu-west-gone"])
    live = examples.gateway_pods("eu-west")

    def pruned() -> bool:
        entries = examples.get("RoutingTable", "eu-west")["status"]["gateways"]
        return sorted(entry["name"] for entry in entries) == live

    eventually(pruned)


def test_the_salt_of_the_caches_is_made_once(examples: Cluster) -> None:
    secret = examples.api.get(f"/api/v1/namespaces/{SYSTEM}/secrets/tomoul-cache-salt")
    assert len(base64.b64decode(secret["data"]["key"])) == 32
    assert examples.replicas > 1, "a second start has had its chance to write it anew"
    assert [entry["operation"] for entry in secret["metadata"]["managedFields"]] == ["Update"]


def test_a_burst_of_models_is_a_few_writes_of_the_tables_and_kopf_writes_nothing(
    examples: Cluster, namespace: str
) -> None:
    before = examples.get("RoutingTable", "eu-west")["metadata"]["generation"]
    names = [f"burst-{number}" for number in range(20)]
    for name in names:
        examples.apply(model(name, namespace, regions=[{"name": "eu-west", "replicas": 0}]))
    eventually(lambda: {f"{namespace}/{name}" for name in names} <= examples.routed("eu-west"), 60)
    after = examples.get("RoutingTable", "eu-west")["metadata"]["generation"]
    assert after - before <= 10
    astray = [f"astray-{number}" for number in range(30)]
    for name in astray:
        examples.apply(model(name, namespace, regions=[{"name": "mars"}]))

    def judged() -> None:
        for name in names + astray:
            assert condition(examples.model(name, namespace), "Accepted")["status"] == str(name in names)

    eventually(lambda: [judged()], 60)
    for kind in ("ModelDeployment", "Region", "RoutingTable", "Deployment"):
        for item in examples.api.get(COLLECTIONS[kind])["items"]:
            metadata = item["metadata"]
            assert "kopf" not in str([entry["manager"] for entry in metadata["managedFields"]])
            assert not metadata.get("finalizers"), metadata
            assert not [name for name in metadata.get("annotations", {}) if "kopf" in name]
    events = examples.api.get("/api/v1/events")["items"]
    assert not [event for event in events if "kopf" in event["metadata"]["name"]]
    writers = {
        entry["manager"] for name in names for entry in examples.model(name, namespace)["metadata"]["managedFields"]
    }
    assert writers == {"tests", "tomoul-operator-status"}


def test_a_disabled_region_runs_nothing_until_it_is_active_again(examples: Cluster) -> None:
    region = examples.get("Region", "us-east")
    selector = "tomoul.ai/region=us-east"
    examples.api.patch(path("Region", "us-east"), {"spec": {"state": "Disabled"}})
    eventually(lambda: not children(examples.api, selector, "Deployment", "Service", "NetworkPolicy"))
    eventually(lambda: examples.api.gone(path("RoutingTable", "us-east")))
    eventually(lambda: condition(examples.get("Region", "us-east"), "Ready")["reason"] == "RegionDisabled")
    examples.api.patch(path("Region", "us-east"), {"spec": {"state": region["spec"]["state"]}})
    eventually(lambda: "tomoul/tiny-chat" in examples.routed("us-east"))
    eventually(lambda: len(examples.gateway_pods("us-east")) == 2)
    examples.ready("tiny-chat", "models")
