"""What people change of a model, and what comes of it."""

import time

from tests.controlplane.api import eventually
from tests.integration.cluster import REGIONS, Cluster, Object, model
from tests.integration.operators import condition, path


def test_replicas_are_an_autoscalers_once_the_spec_leaves_them_out(examples: Cluster, namespace: str) -> None:
    item = model("scaled", namespace, regions=[{"name": "eu-west", "replicas": 2}])
    examples.apply(item)
    found = eventually(lambda: examples.of("scaled", namespace, "Deployment"))[0]
    deployment = path("Deployment", found["metadata"]["name"], namespace)

    def drains(seconds: int) -> Object:
        item["spec"]["rollout"]["drainSeconds"] = seconds
        examples.apply(item)

        def rolled_out() -> Object:
            live = examples.api.get(deployment)
            grace = live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace == 5 + seconds + 10, "until no gateway sends calls, for those that run, and to end"
            return live

        return eventually(rolled_out)

    del item["spec"]["regions"][0]["replicas"]
    assert drains(6)["spec"]["replicas"] == 2, "what runs goes on until an autoscaler decides"
    examples.api.patch(f"{deployment}/scale", {"spec": {"replicas": 3}})
    assert drains(7)["spec"]["replicas"] == 3
    eventually(lambda: examples.model("scaled", namespace)["status"]["regions"][0]["pools"][0]["replicas"] == 3)
    item["spec"]["regions"][0]["replicas"] = 1
    examples.apply(item)
    eventually(lambda: examples.api.get(deployment)["spec"]["replicas"] == 1)


def test_a_region_that_the_namespaces_label_forbids_is_not_begun_and_one_that_runs_goes_on_and_is_told_so(
    examples: Cluster, namespace: str
) -> None:
    def reason(name: str, region: str) -> str:
        return str(condition(examples.model(name, namespace), "Accepted", region)["reason"])

    examples.apply(model("before", namespace))
    eventually(lambda: len(examples.of("before", namespace)) == 10)
    label = {"metadata": {"labels": {"tomoul.ai/jurisdictions": "EU"}}}
    examples.api.patch(f"/api/v1/namespaces/{namespace}", label)
    eventually(lambda: reason("before", "us-east") == "JurisdictionForbidden")
    examples.apply(model("after", namespace))
    eventually(
        lambda: (reason("after", "eu-west"), reason("after", "us-east")) == ("Accepted", "JurisdictionForbidden")
    )
    eventually(lambda: len(examples.of("after", namespace)) == 5)
    assert len(examples.of("before", namespace)) == 10

    def routed_in() -> list[list[str]]:
        routes = examples.get("RoutingTable", "us-east")["spec"]["models"]
        return [route["regions"] for route in routes if route["id"] == f"{namespace}/after"]

    eventually(lambda: routed_in() == [["eu-west"]])
    examples.api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"tomoul.ai/jurisdictions": None}}})
    eventually(lambda: len(examples.of("after", namespace)) == 10)


def test_a_region_that_a_model_leaves_is_cleared_of_it(examples: Cluster, namespace: str) -> None:
    item = model("leaving", namespace)
    examples.apply(item)
    eventually(lambda: len(examples.of("leaving", namespace)) == 10)
    item["spec"]["regions"] = [{"name": "eu-west", "replicas": 1}]
    examples.apply(item)
    eventually(lambda: len(examples.of("leaving", namespace)) == 5)
    left = {child["metadata"]["labels"]["tomoul.ai/region"] for child in examples.of("leaving", namespace)}
    assert left == {"eu-west"}
    eventually(
        lambda: [row["name"] for row in examples.model("leaving", namespace)["status"]["regions"]] == ["eu-west"]
    )


def test_an_edit_that_is_refused_stops_nothing_until_the_model_leaves_the_region(
    examples: Cluster, namespace: str
) -> None:
    examples.apply(model("kept", namespace))
    examples.ready("kept", namespace)

    def running() -> dict[str, Object]:
        found = examples.of("kept", namespace)
        return {f"{item['kind']} {item['metadata']['name']}": item.get("spec", {}) for item in found}

    def routes() -> list[Object]:
        tables = [examples.get("RoutingTable", region)["spec"]["models"] for region in REGIONS]
        return [route for table in tables for route in table if route["id"] == f"{namespace}/kept"]

    before, routed = running(), routes()
    broken = model("kept", namespace, engine={"type": "LlamaCpp", "args": ["--port", "1"]})
    examples.apply(broken)

    def refused() -> None:
        item = examples.model("kept", namespace)
        for region in REGIONS:
            assert condition(item, "Accepted", region)["reason"] == "UnsupportedByEngine"
            assert condition(item, "WorkloadReady", region)["status"] == "True"
            assert condition(item, "RoutesProgrammed", region)["status"] == "True"

    eventually(lambda: [refused()])
    time.sleep(2)  # longer than a table waits for more changes
    assert running() == before
    assert routes() == routed
    refused()
    broken["spec"]["regions"] = broken["spec"]["regions"][:1]
    examples.apply(broken)
    eventually(lambda: len(examples.of("kept", namespace)) == len(before) // 2)
    eventually(lambda: [route["regions"] for route in routes()] == [["eu-west"]] * 2)
    examples.apply(model("kept", namespace))
    examples.ready("kept", namespace)


def test_a_model_that_gives_up_its_cache_is_ready_and_promises_so_only_once_all_its_pods_have_none(
    examples: Cluster, namespace: str
) -> None:
    item = model("cacheless", namespace)
    item["spec"]["regions"] = item["spec"]["regions"][:1]
    examples.apply(item)
    examples.ready("cacheless", namespace)
    item["spec"]["cache"] = {"mode": "Disabled"}
    generation = examples.apply(item)["metadata"]["generation"]

    def settled() -> bool:
        examples.acknowledge_all()
        # The first is read before the others: what it says has to be true by then, and for good.
        now = examples.model("cacheless", namespace)
        table = examples.get("RoutingTable", "eu-west")["spec"]["models"]
        pods = examples.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        caches = {pod["metadata"]["labels"]["tomoul.ai/prompt-cache"] for pod in pods}
        ready = condition(now, "Ready")
        if ready["observedGeneration"] == generation and ready["status"] == "True":
            assert caches == {"none"}
            assert [r["cache"]["mode"] for r in table if r["id"] == f"{namespace}/cacheless"] == ["Disabled"]
            return True
        return False

    deadline = time.monotonic() + 30
    while not settled():
        assert time.monotonic() < deadline, examples.model("cacheless", namespace)["status"]


def test_a_model_that_gets_a_cache_has_no_pod_with_one_before_every_gateway_has_its_route(
    examples: Cluster, namespace: str
) -> None:
    item = model("cached", namespace)
    item["spec"]["regions"] = item["spec"]["regions"][:1]
    item["spec"]["cache"] = {"mode": "Disabled"}
    examples.apply(item)
    examples.ready("cached", namespace)
    item["spec"]["cache"] = {"mode": "Shared"}
    examples.apply(item)

    def caches() -> set[str]:
        pods = examples.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return {pod["metadata"]["labels"]["tomoul.ai/prompt-cache"] for pod in pods}

    def waits() -> bool:
        told = condition(examples.model("cached", namespace), "WorkloadReady")
        return "gateways must know of it first: Gateways that have not accepted" in told["message"]

    eventually(waits)
    assert caches() == {"none"}
    examples.ready("cached", namespace)
    eventually(lambda: caches() == {"shared"})


def test_a_deleted_model_leaves_nothing_and_its_routes_go(examples: Cluster, namespace: str) -> None:
    examples.apply(model("gone", namespace))
    eventually(lambda: f"{namespace}/gone" in examples.routed("eu-west") & examples.routed("us-east"))
    eventually(lambda: len(examples.of("gone", namespace)) == 10)
    examples.api.delete(path("ModelDeployment", "gone", namespace))
    eventually(lambda: not examples.of("gone", namespace), 60)
    eventually(lambda: f"{namespace}/gone" not in examples.routed("eu-west") | examples.routed("us-east"))
    eventually(lambda: not examples.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"], 60)


def test_gpus_that_no_node_has_are_told_in_the_schedulers_words(examples: Cluster, namespace: str) -> None:
    needs = {"accelerator": "nvidia-l4", "count": 16, "cpu": "100m", "memory": "256Mi"}
    examples.apply(model("huge", namespace, resources=needs, regions=[{"name": "us-east", "replicas": 1}]))

    def told() -> None:
        found = condition(examples.model("huge", namespace), "Scheduled", "us-east")
        assert (found["status"], found["reason"]) == ("False", "Unschedulable")
        assert "Insufficient nvidia.com/gpu" in found["message"]

    eventually(lambda: [told()])


def test_a_model_in_a_region_that_does_not_exist_is_told_so_and_others_go_on(examples: Cluster, namespace: str) -> None:
    regions = [{"name": "eu-west", "replicas": 1}, {"name": "mars", "replicas": 1}]
    examples.apply(model("astray", namespace, regions=regions))

    def told() -> None:
        item = examples.model("astray", namespace)
        assert condition(item, "Accepted", "mars")["reason"] == "UnknownRegion"
        assert condition(item, "Accepted", "eu-west")["status"] == "True"

    eventually(lambda: [told()])
    eventually(lambda: len(examples.of("astray", namespace)) == 5)
