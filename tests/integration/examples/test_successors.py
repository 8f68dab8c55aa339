"""Operators that end, and those that go on in their place."""

import time

from tests.controlplane.api import eventually
from tests.integration.cluster import REGIONS, SYSTEM, Cluster, model
from tests.integration.operators import path


def test_after_the_api_server_was_away_the_operator_or_its_restart_goes_on(examples: Cluster, namespace: str) -> None:
    examples.apply(model("patient", namespace))
    eventually(lambda: len(examples.of("patient", namespace)) == 10)
    examples.control_plane.stop_apiserver()
    try:
        assert examples.leader.health("/healthz") == 200
    finally:
        examples.control_plane.start_apiserver()
    child = eventually(lambda: examples.of("patient", namespace, "Service"))[0]
    examples.api.delete(path("Service", child["metadata"]["name"], namespace))

    def repaired() -> bool:
        if examples.leader.process.poll() is not None:
            # Away for longer than a lease may go unrenewed: the kubelet would start it again.
            examples.leader.stop()
            assert "another replica may lead now" in examples.leader.log.read_text()
            examples.leader = examples.start()
        return len(examples.of("patient", namespace)) == 10

    eventually(repaired, 60)


def test_of_two_replicas_one_writes_and_the_other_takes_over_when_it_is_told_to_stop(
    examples: Cluster, namespace: str
) -> None:
    second = examples.start()
    eventually(lambda: second.health("/readyz") == 200, 60)
    assert not second.leads()
    examples.apply(model("handover", namespace))
    eventually(lambda: len(examples.of("handover", namespace)) == 10)
    assert second.writes() == {}
    began = time.monotonic()
    assert examples.leader.stop() == 0
    examples.leader = second
    eventually(second.leads)
    assert time.monotonic() - began < 20
    service = examples.of("handover", namespace, "Service")[0]["metadata"]["name"]
    examples.api.delete(path("Service", service, namespace))
    eventually(lambda: len(examples.of("handover", namespace)) == 10)
    assert second.writes()


def test_an_operator_of_another_version_replaces_gateways_and_no_engine_that_its_loader_has_served(
    examples: Cluster, namespace: str
) -> None:
    source = {"hf": {"repo": "acme/tiny", "revision": "0" * 40, "file": "tiny.gguf"}}
    # The API server writes such quantities in another way.
    examples.apply(model("fetched", namespace, source=source, resources={"cpu": "0.5", "memory": "1024Mi"}))
    examples.ready("fetched", namespace)

    def generations() -> dict[str, int]:
        found = examples.of("fetched", namespace, "Deployment")
        return {item["metadata"]["name"]: item["metadata"]["generation"] for item in found}

    def upgraded() -> None:
        for region in REGIONS:
            gateway = examples.get("Deployment", f"tomoul-gateway-{region}", SYSTEM)
            assert gateway["spec"]["template"]["spec"]["initContainers"][0]["image"] == "example.com/operator:2"

    before = generations()
    assert examples.leader.stop() == 0
    examples.leader = examples.start("--operator-image=example.com/operator:2")
    eventually(lambda: [upgraded()], 60)
    eventually(lambda: examples.leader.metrics()["tomoul_queue_depth"] == 0)
    # What it had to look at before comes before this one.
    examples.apply(model("fetched", namespace, source=source, resources={"cpu": "1", "memory": "1024Mi"}))
    eventually(lambda: {name: generation + 1 for name, generation in before.items()} == generations())
    images = {
        item["spec"]["template"]["spec"]["initContainers"][0]["image"]
        for item in examples.of("fetched", namespace, "Deployment")
    }
    assert images == {"example.com/operator:2"}, "a new revision is brought by the newest"
