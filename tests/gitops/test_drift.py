"""An unchanged world is left alone, what is others' stays theirs, and two appliers of the same do not fight."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.controlplane.api import eventually
from tests.controlplane.harness import KubectlError
from tests.gitops.conftest import MANAGERS, GitOpsCluster, manifests
from tests.integration.operators import COLLECTIONS, children, path, versions

Object = dict[str, Any]


@pytest.fixture
def settled(cluster: GitOpsCluster) -> Iterator[GitOpsCluster]:
    cluster.settle()
    yield cluster
    cluster.kubectl_apply(MANAGERS[0], manifests())


def test_lists_a_restart_and_a_change_of_leader_find_nothing_to_write(settled: GitOpsCluster) -> None:
    kinds = {kind for kind, _, _ in versions(settled.api)}
    assert kinds == COLLECTIONS.keys(), "the world has something of everything that the operator could write"
    assert settled.api.get("/apis/events.k8s.io/v1/events")["items"], "and events"
    before, moment = versions(settled.api), settled.audit.now()
    settled.after_two_rounds()

    assert settled.leader.stop() == 0
    settled.leader = settled.start()
    eventually(settled.leader.leads, 60)
    resources = sum(
        len(settled.api.get(COLLECTIONS[kind])["items"]) for kind in ("ModelDeployment", "Region", "Tenant")
    )

    def reconciled() -> bool:
        found = settled.leader.metrics().items()
        return sum(value for name, value in found if "reconciles_total" in name and "done" in name) >= resources

    eventually(reconciled, 60)
    settled.after_two_rounds()
    assert settled.audit.since(moment) == []
    assert versions(settled.api) == before


def test_what_gitops_tools_write_into_metadata_causes_no_write(settled: GitOpsCluster) -> None:
    moment = settled.audit.now()
    for kind, name, namespace in (("ModelDeployment", "tiny-chat", "models"), ("Region", "eu-west", "")):
        metadata = {
            "annotations": {"argocd.argoproj.io/tracking-id": f"models:tomoul.ai/{kind}:{namespace}/{name}"},
            "labels": {"kustomize.toolkit.fluxcd.io/name": "models"},
        }
        settled.api.patch(path(kind, name, namespace), {"metadata": metadata})
    settled.after_two_rounds()
    assert settled.audit.since(moment) == []


def test_sidecars_annotations_and_replicas_of_others_stay_and_cost_no_write_but_of_statuses(
    settled: GitOpsCluster,
) -> None:
    def deployment(name: str) -> Object:
        (found,) = children(settled.api, f"tomoul.ai/model-deployment={name},tomoul.ai/region=eu-west", "Deployment")
        return found

    injected, scaled = deployment("odd-quantities"), deployment("scaled")
    moment = settled.audit.now()
    template = {
        "metadata": {"annotations": {"mesh.example.com/injected": "yes"}},
        "spec": {
            "containers": [
                {"name": "proxy", "image": "mesh:1"},
                {"name": "engine", "env": [{"name": "MESH", "value": "on"}]},
            ]
        },
    }
    name, namespace = injected["metadata"]["name"], "models"
    item = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"mesh.example.com/revision": "7"}},
        "spec": {"template": template},
    }
    settled.api.apply(path("Deployment", name, namespace), item, "injector")
    settled.api.patch(f"{path('Deployment', scaled['metadata']['name'], namespace)}/scale", {"spec": {"replicas": 3}})
    eventually(lambda: deployment("odd-quantities")["status"].get("updatedReplicas") == 1)
    eventually(lambda: deployment("scaled")["status"].get("readyReplicas") == 3)
    settled.after_two_rounds()

    live = deployment("odd-quantities")
    containers = {container["name"]: container for container in live["spec"]["template"]["spec"]["containers"]}
    assert containers["proxy"]["image"] == "mesh:1"
    assert {"name": "MESH", "value": "on"} in containers["engine"]["env"]
    assert live["metadata"]["annotations"]["mesh.example.com/revision"] == "7"
    assert live["spec"]["template"]["metadata"]["annotations"]["mesh.example.com/injected"] == "yes"
    assert deployment("scaled")["spec"]["replicas"] == 3
    written = {write.resource for write in settled.audit.since(moment)}
    # New pods are news for statuses, and events tell of it; nothing else is.
    assert "modeldeployments/status" in written
    assert written <= {"modeldeployments/status", "regions/status", "events"}


def test_two_managers_that_apply_the_same_neither_conflict_nor_cause_a_write(settled: GitOpsCluster) -> None:
    first, second = MANAGERS
    settled.kubectl_apply(second, manifests())
    settled.after_two_rounds()
    before, moment = versions(settled.api), settled.audit.now()
    for manager in (first, second) * 3:
        settled.kubectl_apply(manager, manifests())
    settled.after_two_rounds()
    assert settled.audit.since(moment) == []
    assert versions(settled.api) == before


def test_a_manager_that_spells_out_every_default_does_not_conflict_with_one_that_leaves_them_out(
    settled: GitOpsCluster,
) -> None:
    live = settled.model("tiny-chat", "models")
    spelled = {**live, "metadata": {"name": "tiny-chat", "namespace": "models"}}
    del spelled["status"]
    assert spelled["spec"] != next(item for item in manifests() if item["metadata"]["name"] == "tiny-chat")["spec"]
    settled.kubectl_apply(MANAGERS[1], [spelled])
    moment = settled.audit.now()
    for _ in range(2):
        settled.kubectl_apply(MANAGERS[0], manifests())
        settled.kubectl_apply(MANAGERS[1], [spelled])
    settled.after_two_rounds()
    assert settled.model("tiny-chat", "models")["metadata"]["generation"] == live["metadata"]["generation"]
    assert settled.audit.since(moment) == []


def test_a_manager_that_wants_something_else_is_told_whose_field_it_is(settled: GitOpsCluster) -> None:
    changed = yaml.safe_load(yaml.safe_dump(manifests()))
    (solo,) = [item for item in changed if item["metadata"]["name"] == "tiny-solo"]
    solo["spec"]["regions"][0]["replicas"] = 2
    with pytest.raises(KubectlError, match=r'conflicts? with "a":?\s[^"]*\.spec\.regions\[name="eu-west"\]\.replicas'):
        settled.kubectl_apply("stranger", [solo])
