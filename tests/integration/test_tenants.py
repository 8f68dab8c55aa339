"""Tenants on a real control plane: what gateways are told, what they may read, and what a tenant is told."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tests.controlplane.kubelet import running
from tests.integration.cluster import REGIONS, SYSTEM, Cluster, Object, running_cluster
from tests.integration.operators import condition, path

ROLE = "tomoul-gateway-keys"


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("operator")
    with running_cluster(control_plane, folder, running, "--gateway-auth=Required") as started:
        yield started


def tenant(name: str, namespace: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": namespace}
    spec = {"apiKeys": {"secretName": f"{name}-keys"}, **spec}
    return {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec}


def entries(cluster: Cluster, region: str, namespace: str) -> dict[str, Object]:
    """The tenants of a namespace in the table of a region."""
    found = cluster.get("RoutingTable", region)["spec"].get("tenants", ())
    return {entry["name"]: entry for entry in found if entry["namespace"] == namespace}


def readable(cluster: Cluster, namespace: str) -> list[str]:
    """Secrets of a namespace that the gateways may read."""
    role = cluster.get("Role", ROLE, namespace)
    binding = cluster.get("RoleBinding", ROLE, namespace)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "tomoul-gateway", "namespace": SYSTEM}]
    (rule,) = role["rules"]
    assert (rule["resources"], rule["verbs"]) == (["secrets"], ["get", "list", "watch"])
    names: list[str] = rule["resourceNames"]
    return names


def enforced(cluster: Cluster, name: str, namespace: str) -> tuple[str, str]:
    found = condition(cluster.get("Tenant", name, namespace), "Enforced")
    return found["status"], found["reason"]


def test_a_tenant_is_in_every_table_and_its_secret_alone_is_readable_until_it_goes(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(tenant("acme", namespace, limits={"requestsPerMinute": 60}))
    for region in REGIONS:
        entry = eventually(lambda region=region: entries(cluster, region, namespace)["acme"])
        assert (entry["secretName"], entry["limits"]) == ("acme-keys", {"requestsPerMinute": 60})
    eventually(lambda: readable(cluster, namespace) == ["acme-keys"])
    cluster.apply(tenant("globex", namespace))
    eventually(lambda: readable(cluster, namespace) == ["acme-keys", "globex-keys"])
    cluster.api.delete(path("Tenant", "acme", namespace))
    eventually(lambda: readable(cluster, namespace) == ["globex-keys"])
    eventually(lambda: list(entries(cluster, "eu-west", namespace)) == ["globex"])
    cluster.api.delete(path("Tenant", "globex", namespace))
    for kind in ("Role", "RoleBinding"):
        eventually(lambda kind=kind: cluster.api.gone(path(kind, ROLE, namespace)))


def test_rights_that_somebody_changes_or_deletes_are_as_they_were_again(cluster: Cluster, namespace: str) -> None:
    cluster.apply(tenant("acme", namespace))
    eventually(lambda: readable(cluster, namespace) == ["acme-keys"])
    more = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    cluster.api.patch(path("Role", ROLE, namespace), {"rules": more})
    eventually(lambda: readable(cluster, namespace) == ["acme-keys"])
    cluster.api.delete(path("RoleBinding", ROLE, namespace))
    eventually(lambda: readable(cluster, namespace) == ["acme-keys"])


def test_a_tenant_is_told_that_it_is_enforced_and_what_the_gateways_say_of_its_keys(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(tenant("acme", namespace))
    eventually(lambda: entries(cluster, "us-east", namespace))
    eventually(lambda: all(len(cluster.gateway_pods(region)) == 2 for region in REGIONS))
    eventually(lambda: enforced(cluster, "acme", namespace) == ("False", "WaitingForGateways"))
    eventually(lambda: cluster.acknowledge_all() and enforced(cluster, "acme", namespace) == ("True", "Enforced"))
    pod = cluster.gateway_pods("eu-west")[0]
    table = cluster.get("RoutingTable", "eu-west")
    message = f"there is no Secret `acme-keys` in namespace `{namespace}`"
    problem = {"namespace": namespace, "name": "acme", "reason": "SecretNotFound", "message": message}
    status: Object = {
        "apiVersion": table["apiVersion"],
        "kind": "RoutingTable",
        "metadata": {"name": "eu-west"},
        "status": {
            "gateways": [
                {
                    "name": pod,
                    "acceptedGeneration": table["metadata"]["generation"],
                    "tenantProblems": [problem],
                }
            ]
        },
    }
    where = f"{path('RoutingTable', 'eu-west')}/status"
    cluster.api.apply(where, status, f"tomoul-agent-{pod}")
    eventually(lambda: enforced(cluster, "acme", namespace) == ("False", "SecretNotFound"))
    found = cluster.get("Tenant", "acme", namespace)
    assert condition(found, "Enforced")["message"] == f"eu-west: {message}"
    assert found["status"]["reason"] == "SecretNotFound"
    del status["status"]["gateways"][0]["tenantProblems"]
    cluster.api.apply(where, status, f"tomoul-agent-{pod}")
    eventually(lambda: enforced(cluster, "acme", namespace) == ("True", "Enforced"))


def test_a_tenant_that_names_what_does_not_exist_is_told_and_is_accepted_once_it_does(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(tenant("acme", namespace, regions=["mars"], models=["nobody/knows"]))

    def accepted() -> str:
        return str(condition(cluster.get("Tenant", "acme", namespace), "Accepted")["reason"])

    eventually(lambda: accepted() == "UnknownRegion")
    cluster.apply(tenant("acme", namespace, regions=["eu-west"], models=["nobody/knows"]))
    eventually(lambda: accepted() == "UnknownModel")
    item = model_named("nobody/knows", namespace)
    cluster.apply(item)
    eventually(lambda: accepted() == "Accepted")
    cluster.api.delete(path("ModelDeployment", "known", namespace))
    eventually(lambda: accepted() == "UnknownModel")


def model_named(model_id: str, namespace: str) -> Object:
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "known", "namespace": namespace},
        "spec": {
            "model": {"id": model_id},
            "source": {"file": {"path": "/models/tiny.gguf"}},
            "engine": {"type": "LlamaCpp"},
            "regions": [{"name": "eu-west", "replicas": 1}],
        },
    }


def test_a_namespace_that_is_deleted_with_its_tenants_goes(cluster: Cluster) -> None:
    cluster.control_plane.add_namespace("leaving")
    cluster.apply(tenant("acme", "leaving"))
    eventually(lambda: readable(cluster, "leaving") == ["acme-keys"])
    cluster.api.delete("/api/v1/namespaces/leaving")
    eventually(lambda: cluster.api.gone("/api/v1/namespaces/leaving"), 60)
    eventually(lambda: not entries(cluster, "eu-west", "leaving"))


def test_rights_whose_tenants_went_while_no_operator_ran_go_and_an_unchanged_world_is_not_written(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(tenant("acme", namespace))
    eventually(lambda: readable(cluster, namespace) == ["acme-keys"])
    assert cluster.leader.stop() == 0
    other = path("Role", ROLE, namespace)
    before = cluster.api.get(other)["metadata"]["resourceVersion"]
    cluster.leader = cluster.start()
    eventually(cluster.leader.leads, 60)
    eventually(lambda: cluster.leader.metrics()["tomoul_queue_depth"] == 0)
    assert cluster.api.get(other)["metadata"]["resourceVersion"] == before
    assert not [name for name in cluster.leader.writes() if "Role" in name]
    assert cluster.leader.stop() == 0
    cluster.api.delete(path("Tenant", "acme", namespace))
    cluster.leader = cluster.start()
    eventually(cluster.leader.leads, 60)
    eventually(lambda: cluster.api.gone(other))
    eventually(lambda: cluster.api.gone(path("RoleBinding", ROLE, namespace)))
