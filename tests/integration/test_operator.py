"""The operator on a real control plane: what a person applies, what comes of it, and what it survives."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.controlplane.api import ApiError, eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.integration.cluster import REGIONS, SYSTEM, Cluster, Object, example, model, running_cluster
from tests.integration.operators import COLLECTIONS, children, condition, path, versions


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator")) as started:
        yield started


@pytest.fixture(scope="module")
def examples(cluster: Cluster) -> Cluster:
    """The cluster with the examples applied."""
    for name in ("tiny-chat", "tiny-solo"):
        cluster.apply(example(name))
    return cluster


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


def test_routes_are_programmed_only_once_every_live_gateway_has_accepted_them(examples: Cluster) -> None:
    def programmed(name: str, region: str) -> tuple[str, str]:
        found = condition(examples.model(name, "models"), "RoutesProgrammed", region)
        return found["status"], found["reason"]

    eventually(lambda: programmed("tiny-solo", "eu-west") == ("False", "WaitingForGateways"))
    eventually(lambda: examples.routed("eu-west") >= {"tomoul/tiny-chat", "tomoul/tiny-solo"})
    first, second = eventually(lambda: examples.gateway_pods("eu-west"))
    examples.acknowledge("eu-west", [first])

    def waits_for_the_second() -> None:
        row = condition(examples.model("tiny-solo", "models"), "RoutesProgrammed", "eu-west")
        assert row["status"] == "False"
        assert second in row["message"]
        assert first not in row["message"]

    eventually(lambda: [waits_for_the_second()])
    examples.acknowledge("eu-west", [second])
    eventually(lambda: programmed("tiny-solo", "eu-west") == ("True", "Acknowledged"))
    eventually(lambda: programmed("tiny-chat", "us-east")[0] == "False")  # nobody has acknowledged there


def test_models_regions_and_their_figures_become_ready(examples: Cluster) -> None:
    chat = examples.ready("tiny-chat", "models")
    assert chat["status"]["readyRegions"] == "2/2"
    assert chat["status"]["observedGeneration"] == chat["metadata"]["generation"]
    examples.ready("tiny-solo", "models")

    def figures() -> None:
        region = examples.get("Region", "eu-west")
        assert condition(region, "Ready")["status"] == "True", region["status"]
        assert region["status"]["models"] == "2/2"
        assert region["status"]["accelerators"] == [{"name": "nvidia-l4", "allocatable": 8, "requested": 4}]
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


def test_what_others_change_of_ours_is_repaired_and_what_is_theirs_is_left_alone(
    examples: Cluster, namespace: str
) -> None:
    examples.apply(model("edited", namespace))
    eventually(lambda: len(examples.of("edited", namespace, "Deployment")) == 2)
    before = {item["kind"]: item for item in examples.of("edited", namespace)}
    names = {kind: item["metadata"]["name"] for kind, item in before.items()}
    deployment = path("Deployment", names["Deployment"], namespace)
    ours = before["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"]
    examples.api.patch(
        deployment,
        {
            "metadata": {"annotations": {"mesh.example.com/inject": "yes"}, "labels": {"tomoul.ai/pool": "other"}},
            "spec": {"replicas": 3, "template": {"metadata": {"annotations": {"mesh.example.com/revision": "7"}}}},
        },
    )
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ["--hacked"]}]
    examples.api.patch(deployment, image, "application/json-patch+json")  # type: ignore[arg-type]
    examples.api.patch(path("Service", names["Service"], namespace), {"spec": {"selector": {"who": "knows"}}})
    examples.api.patch(
        path("PodDisruptionBudget", names["PodDisruptionBudget"], namespace), {"spec": {"maxUnavailable": 5}}
    )
    examples.api.patch(
        path("ServiceAccount", names["ServiceAccount"], namespace), {"automountServiceAccountToken": True}
    )
    examples.api.patch(path("NetworkPolicy", names["NetworkPolicy"], namespace), {"spec": {"ingress": [{}]}})

    def repaired() -> None:
        live = examples.api.get(deployment)
        assert live["spec"]["replicas"] == 1
        assert live["spec"]["template"]["spec"]["containers"][0]["args"] == ours
        assert live["metadata"]["labels"]["tomoul.ai/pool"] == "default"
        assert live["metadata"]["annotations"]["mesh.example.com/inject"] == "yes"
        assert live["spec"]["template"]["metadata"]["annotations"]["mesh.example.com/revision"] == "7"
        for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            assert examples.get(kind, names[kind], namespace)["spec"] == before[kind]["spec"], kind
        account = examples.get("ServiceAccount", names["ServiceAccount"], namespace)
        assert account["automountServiceAccountToken"] is False

    eventually(lambda: [repaired()])


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


def test_a_namespace_that_is_deleted_with_its_models_goes(examples: Cluster) -> None:
    examples.control_plane.add_namespace("doomed")
    for name in ("one", "two"):
        examples.apply(model(name, "doomed"))
    eventually(lambda: len(examples.of("two", "doomed")) == 10)
    examples.api.delete("/api/v1/namespaces/doomed")
    eventually(lambda: examples.api.gone("/api/v1/namespaces/doomed"), 60)
    eventually(lambda: not {"doomed/one", "doomed/two"} & (examples.routed("eu-west") | examples.routed("us-east")))


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


def test_children_and_tables_that_somebody_deletes_come_back(examples: Cluster, namespace: str) -> None:
    examples.apply(model("deleted", namespace))
    eventually(lambda: len(examples.of("deleted", namespace)) == 10)
    before = {
        (item["kind"], item["metadata"]["name"]): item["metadata"]["uid"] for item in examples.of("deleted", namespace)
    }
    for kind, name in before:
        examples.api.delete(path(kind, name, namespace))
    table = examples.get("RoutingTable", "us-east")["metadata"]["uid"]
    examples.api.delete(path("RoutingTable", "us-east"))

    def back() -> None:
        now = {
            (item["kind"], item["metadata"]["name"]): item["metadata"]["uid"]
            for item in examples.of("deleted", namespace)
        }
        assert now.keys() == before.keys()
        assert not set(now.values()) & set(before.values())
        assert examples.get("RoutingTable", "us-east")["metadata"]["uid"] != table

    eventually(lambda: [back()])


def test_an_object_that_takes_its_time_to_be_deleted_keeps_neither_other_regions_nor_the_status_from_going_on(
    examples: Cluster, namespace: str
) -> None:
    examples.apply(model("held", namespace))
    examples.ready("held", namespace)
    (service,) = (
        path("Service", item["metadata"]["name"], namespace)
        for item in examples.of("held", namespace, "Service")
        if item["metadata"]["labels"]["tomoul.ai/region"] == "eu-west"
    )
    examples.api.patch(service, {"metadata": {"finalizers": ["example.com/load-balancer"]}})
    examples.api.delete(service)
    regions = [{"name": "eu-west", "replicas": 1}, {"name": "us-east", "replicas": 2}]
    wanted = examples.apply(model("held", namespace, regions=regions))["metadata"]["generation"]

    def goes_on() -> None:
        found = examples.of("held", namespace, "Deployment")
        replicas = {item["metadata"]["labels"]["tomoul.ai/region"]: item["spec"]["replicas"] for item in found}
        assert replicas == {"eu-west": 1, "us-east": 2}
        assert examples.model("held", namespace)["status"]["observedGeneration"] == wanted

    eventually(lambda: [goes_on()])
    examples.api.patch(service, {"metadata": {"finalizers": None}})
    eventually(lambda: "deletionTimestamp" not in examples.api.get(service)["metadata"])


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


def test_a_deleted_model_leaves_nothing_and_its_routes_go(examples: Cluster, namespace: str) -> None:
    examples.apply(model("gone", namespace))
    eventually(lambda: f"{namespace}/gone" in examples.routed("eu-west") & examples.routed("us-east"))
    eventually(lambda: len(examples.of("gone", namespace)) == 10)
    examples.api.delete(path("ModelDeployment", "gone", namespace))
    eventually(lambda: not examples.of("gone", namespace), 60)
    eventually(lambda: f"{namespace}/gone" not in examples.routed("eu-west") | examples.routed("us-east"))
    eventually(lambda: not examples.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"], 60)


def test_a_model_that_is_recreated_at_once_gets_children_of_its_own(examples: Cluster, namespace: str) -> None:
    examples.apply(model("again", namespace))
    eventually(lambda: len(examples.of("again", namespace)) == 10)
    examples.api.delete(path("ModelDeployment", "again", namespace))
    uid = examples.apply(model("again", namespace))["metadata"]["uid"]

    def fresh() -> None:
        found = examples.of("again", namespace)
        assert len(found) == 10
        for child in found:
            assert [owner["uid"] for owner in child["metadata"]["ownerReferences"]] == [uid]
            assert "deletionTimestamp" not in child["metadata"]

    eventually(lambda: [fresh()], 60)


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


def test_an_invalid_object_gets_a_condition_keeps_what_it_had_and_stops_nobody(
    examples: Cluster, namespace: str
) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldeployments.tomoul.ai"
    strict = yaml.safe_load((REPOSITORY / "crds" / "tomoul.ai_modeldeployments.yaml").read_text())
    examples.apply(model("invalid", namespace))
    eventually(lambda: f"{namespace}/invalid" in examples.routed("eu-west"))
    try:
        examples.api.apply(crd, without_rules(strict))
        invalid = model("invalid", namespace, source={"file": {"path": "relative"}})
        eventually(lambda: examples.apply(invalid))
        item = eventually(lambda: told(examples, "invalid", namespace))
        assert "spec.source.file.path" in condition(item, "Accepted")["message"]
        assert f"{namespace}/invalid" in examples.routed("eu-west")
        assert len(examples.of("invalid", namespace)) == 10
        examples.apply(model("valid", namespace))
        eventually(lambda: len(examples.of("valid", namespace)) == 10)
        examples.apply(model("invalid", namespace))
        eventually(lambda: condition(examples.model("invalid", namespace), "Accepted")["status"] == "True")
    finally:
        examples.api.apply(crd, strict)


def test_a_restart_changes_nothing_of_a_region_and_a_model_that_only_a_newer_version_can_read(
    examples: Cluster, namespace: str
) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    strict = {
        plural: yaml.safe_load((REPOSITORY / "crds" / f"tomoul.ai_{plural}.yaml").read_text())
        for plural in ("regions", "modeldeployments")
    }
    for name in ("frozen", "half"):
        examples.apply(model(name, namespace, source={"file": {"path": "/models/a.gguf"}}))
        eventually(lambda name=name: len(examples.of(name, namespace)) == 10)
    ids = {f"{namespace}/frozen", f"{namespace}/half"}
    eventually(lambda: all(ids <= examples.routed(region) for region in REGIONS))
    region = examples.get("Region", "us-east")
    placement = region["spec"].get("placement", {})
    newer = {**placement, "tolerations": [{"key": "gpu", "operator": "Exists", "value": "newer"}]}
    try:
        for plural, crd in strict.items():
            examples.api.apply(f"{crds}/{plural}.tomoul.ai", without_rules(crd))
        eventually(lambda: examples.apply(model("frozen", namespace, source={"file": {"path": "relative"}})))
        eventually(lambda: examples.api.patch(path("Region", "us-east"), {"spec": {"placement": newer}}))
        assert len(eventually(lambda: told(examples, "frozen", namespace))["status"]["regions"]) == 2
        eventually(lambda: condition(examples.get("Region", "us-east"), "Accepted")["reason"] == "InvalidSpec")
        assert examples.leader.stop() == 0
        before = seen(examples, namespace)
        examples.leader = examples.start()
        eventually(examples.leader.leads, 60)
        examples.apply(model("later", namespace))
        eventually(lambda: f"{namespace}/later" in examples.routed("eu-west"))
        eventually(lambda: len(examples.of("later", namespace)) == 5)
        for name in ("half", "later"):
            reason = eventually(lambda name=name: condition(examples.model(name, namespace), "Accepted", "us-east"))
            assert reason["reason"] == "UnreadableRegion"
        after = seen(examples, namespace)
        assert {key: after.get(key) for key in before} == before
        examples.api.patch(path("Region", "us-east"), {"spec": {"placement": {"tolerations": None} | placement}})
        examples.apply(model("frozen", namespace))
        eventually(lambda: len(examples.of("later", namespace)) == 10)
        eventually(lambda: ids | {f"{namespace}/later"} <= examples.routed("us-east"))
        examples.ready("frozen", namespace)
    finally:
        examples.api.patch(path("Region", "us-east"), {"spec": {"placement": {"tolerations": None} | placement}})
        for plural, crd in strict.items():
            examples.api.apply(f"{crds}/{plural}.tomoul.ai", crd)


def seen(cluster: Cluster, namespace: str) -> dict[tuple[str, ...], object]:
    """What the operator has made in a namespace, in the versions in which their specs are, and all routes to it."""
    found: dict[tuple[str, ...], object] = {}
    for item in children(cluster.api, "app.kubernetes.io/component=engine"):
        metadata = item["metadata"]
        if metadata["namespace"] == namespace:
            found[item["kind"], metadata["name"]] = (metadata["uid"], metadata.get("generation"))
    for region in REGIONS:
        spec = cluster.get("RoutingTable", region)["spec"]
        found["regions", region] = (spec["knownRegions"], spec["remoteGateways"])
        for route in spec["models"]:
            if route["id"].startswith(f"{namespace}/"):
                found["route", region, route["id"]] = route
    return found


def put_quota(cluster: Cluster, namespace: str, name: str, hard: Object) -> str:
    """The path of the ResourceQuota."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/{name}"
    metadata = {"name": name}
    cluster.api.apply(path, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    return path


def test_a_quota_that_refuses_a_workload_is_told_as_that_and_not_as_a_mistake_in_the_spec(
    examples: Cluster, namespace: str
) -> None:
    quota = put_quota(examples, namespace, "none", {"count/deployments.apps": "0"})
    examples.apply(model("refused", namespace))

    def told_so() -> Object:
        item = examples.model("refused", namespace)
        assert condition(item, "WorkloadReady", "eu-west")["reason"] == "ApplyRefused"
        return item

    item = eventually(told_so)
    assert condition(item, "Accepted")["status"] == "True"
    assert (item["status"]["reason"], item["status"]["readyRegions"]) == ("ApplyRefused", "0/2")
    assert "quota" in condition(item, "Ready", "us-east")["message"]
    examples.api.delete(quota)
    eventually(lambda: len(examples.of("refused", namespace)) == 10, 60)


def test_a_quota_that_refuses_pods_is_told_in_its_words(examples: Cluster, namespace: str) -> None:
    quota = put_quota(examples, namespace, "memory", {"requests.memory": "512Mi"})
    eventually(lambda: "hard" in examples.api.get(quota)["status"])
    examples.apply(model("short", namespace, regions=[{"name": "eu-west", "replicas": 3}]))

    def told_so() -> None:
        item = examples.model("short", namespace)
        for kind in ("Scheduled", "WorkloadReady"):
            message = condition(item, kind, "eu-west")["message"]
            assert "are not made: forbidden: exceeded quota: memory, requested: requests.memory=256Mi" in message

    eventually(lambda: [told_so()])


def refused(ask: Callable[[], object]) -> bool:
    """Whether the API server refuses it by now."""
    try:
        ask()
    except ApiError:
        return True
    return False


def test_an_admission_webhook_that_is_away_is_told_and_holds_up_only_what_it_is_asked_about(
    examples: Cluster, namespace: str
) -> None:
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/away"
    webhook = {
        "name": "away.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"service": {"name": "policies", "namespace": namespace}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
        ],
    }
    configuration = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    examples.api.apply(hooks, {**configuration, "metadata": {"name": "away"}, "webhooks": [webhook]})
    labels = {"app": "probe"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.com/c"}]}}
    probe = {"metadata": {"name": "probe"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    try:
        eventually(lambda: refused(lambda: examples.api.create(deployments, probe, dryRun="All")))
        examples.apply(model("waiting", namespace))

        def waits() -> None:
            item = examples.model("waiting", namespace)
            for region in REGIONS:
                refused = condition(item, "WorkloadReady", region)
                assert refused["reason"] == "ApplyRefused", refused
                assert "away.example.com" in refused["message"]
            assert len(examples.of("waiting", namespace)) == 8, "all but the Deployments"

        eventually(lambda: [waits()])
    finally:
        examples.api.delete(hooks)
    eventually(lambda: len(examples.of("waiting", namespace)) == 10, 60)


def test_an_admission_policy_that_keeps_an_object_holds_up_neither_what_else_goes_nor_the_status(
    examples: Cluster, namespace: str
) -> None:
    registration = "admissionregistration.k8s.io/v1"
    kinds = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    policies, bindings = (f"/apis/{registration}/{kind}/kept" for kind in kinds)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["services"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "Services stay"}],
    }
    binding = {"policyName": "kept", "validationActions": ["Deny"]}
    both = (policies, "ValidatingAdmissionPolicy", policy), (bindings, "ValidatingAdmissionPolicyBinding", binding)
    examples.apply(model("leaving", namespace))
    eventually(lambda: len(examples.of("leaving", namespace)) == 10)
    for where, kind, spec in both:
        examples.api.apply(
            where, {"apiVersion": registration, "kind": kind, "metadata": {"name": "kept"}, "spec": spec}
        )
    service = path("Service", examples.of("leaving", namespace, "Service")[0]["metadata"]["name"], namespace)
    try:
        eventually(lambda: refused(lambda: examples.api.delete(service, {"dryRun": ["All"]})))
        regions = [{"name": "us-east", "replicas": 1}]
        wanted = examples.apply(model("leaving", namespace, regions=regions))["metadata"]["generation"]

        def left() -> None:
            there = examples.of("leaving", namespace)
            found = [item["kind"] for item in there if item["metadata"]["labels"]["tomoul.ai/region"] == "eu-west"]
            assert found == ["Service"]
            assert examples.model("leaving", namespace)["status"]["observedGeneration"] == wanted

        eventually(lambda: [left()])
    finally:
        for where, _, _ in reversed(both):
            examples.api.delete(where)
    eventually(lambda: len(examples.of("leaving", namespace)) == 5, 60)


def told(cluster: Cluster, name: str, namespace: str) -> Object:
    item = cluster.model(name, namespace)
    assert condition(item, "Accepted")["reason"] == "InvalidSpec"
    return item


def without_rules(schema: Any) -> Any:
    """A CRD that lets through what its rules and patterns refuse, as an older one might."""
    if isinstance(schema, dict):
        return {
            name: without_rules(value)
            for name, value in schema.items()
            if name not in ("x-kubernetes-validations", "pattern")
        }
    return [without_rules(value) for value in schema] if isinstance(schema, list) else schema


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
