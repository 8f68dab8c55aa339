"""What others do to what the operator makes."""

import time

from tests.controlplane.api import eventually
from tests.integration.cluster import Cluster, model
from tests.integration.operators import path
from tomoul.controller.contests import BURST


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


def test_somebody_who_changes_an_object_back_at_once_does_not_make_us_write_for_ever_and_loses_in_the_end(
    examples: Cluster, namespace: str
) -> None:
    examples.apply(model("contested", namespace, regions=[{"name": "eu-west", "replicas": 1}]))
    (before,) = eventually(lambda: examples.of("contested", namespace, "Service"))
    service, changes = path("Service", before["metadata"]["name"], namespace), 0
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if examples.api.get(service)["spec"]["selector"] == before["spec"]["selector"]:
            examples.api.patch(service, {"spec": {"selector": {"tomoul.ai/pool": "theirs"}}})
            changes += 1
    assert 3 <= changes <= BURST + 2
    examples.apply(model("beside", namespace, regions=[{"name": "eu-west", "replicas": 1}]))
    eventually(lambda: len(examples.of("beside", namespace)) == 5, 20, "others are not held up")
    eventually(lambda: examples.api.get(service)["spec"]["selector"] == before["spec"]["selector"], 60)
