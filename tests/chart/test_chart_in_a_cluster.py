"""The rendered chart on a real API server: admission, Pod Security and rights."""

from collections.abc import Iterator

import pytest
import yaml

from tests.chart.helm import Object, one, render
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane

SYSTEM = "tomoul-chart"
OPERATOR = "tomoul-operator"
GATEWAY = "tomoul-gateway"


@pytest.fixture(scope="module")
def chart(control_plane: ControlPlane) -> Iterator[list[Object]]:
    """The chart's objects, applied in a namespace that admits only pods that Pod Security `restricted` does."""
    control_plane.add_namespace(SYSTEM, {"pod-security.kubernetes.io/enforce": "restricted"})
    objects = render(namespace=SYSTEM)
    manifest = yaml.safe_dump_all(found for found in objects if found["kind"] != "CustomResourceDefinition")
    control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=manifest)
    yield objects
    control_plane.kubectl("delete", "--wait=false", "-f", "-", input=manifest)
    control_plane.api.delete(f"/api/v1/namespaces/{SYSTEM}")


def allowed(control_plane: ControlPlane, account: str, right: str, namespace: str) -> bool:
    """Whether the ServiceAccount may do `right`, such as `patch apps/deployments/status` or `get /secrets:name`."""
    verb, _, target = right.partition(" ")
    group, _, resource = target.partition("/")
    resource, _, name = resource.partition(":")
    resource, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name,
        "namespace": namespace,
    }  # fmt: skip
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    answer = control_plane.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    granted: bool = answer["status"]["allowed"]
    return granted


def test_a_real_api_server_accepts_every_object_under_strict_validation(
    control_plane: ControlPlane, chart: list[Object]
) -> None:
    said = control_plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-",
        input=yaml.safe_dump_all(chart),
    )  # fmt: skip
    assert len(said.splitlines()) == len(chart)


def test_pod_security_restricted_admits_the_operators_pod(control_plane: ControlPlane, chart: list[Object]) -> None:
    template = one(chart, "Deployment", OPERATOR)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "operator"}}
    path = f"/api/v1/namespaces/{SYSTEM}/pods"
    control_plane.api.create(path, pod, dryRun="All")
    pod["spec"] = {**pod["spec"], "hostNetwork": True}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api.create(path, pod, dryRun="All")


MAY = [
    # account, namespace, rights
    (OPERATOR, "", "get list watch", "tomoul.ai/regions tomoul.ai/modeldeployments tomoul.ai/tenants"),
    (OPERATOR, "", "patch", "tomoul.ai/regions/status tomoul.ai/modeldeployments/status tomoul.ai/tenants/status"),
    (OPERATOR, "", "get list watch create patch delete", "tomoul.ai/routingtables apps/deployments /services"),
    (OPERATOR, "", "get list watch create patch delete", "/serviceaccounts policy/poddisruptionbudgets"),
    (OPERATOR, "", "get list watch create patch delete", "networking.k8s.io/networkpolicies"),
    (OPERATOR, "", "update", "tomoul.ai/regions/finalizers tomoul.ai/modeldeployments/finalizers"),
    (OPERATOR, "", "patch", "tomoul.ai/routingtables/status"),
    (OPERATOR, "", "get list watch", "/pods /nodes"),
    (OPERATOR, SYSTEM, "create", "coordination.k8s.io/leases /secrets"),
    (OPERATOR, SYSTEM, "get update", "coordination.k8s.io/leases:tomoul-operator"),
    (OPERATOR, SYSTEM, "get", "/secrets:tomoul-cache-salt"),
    (GATEWAY, "", "get list watch", "tomoul.ai/routingtables"),
    (GATEWAY, "", "patch", "tomoul.ai/routingtables/status"),
    (GATEWAY, "", "get list watch", "discovery.k8s.io/endpointslices"),
]
MAY_NOT = [
    (OPERATOR, "", "create update patch delete", "tomoul.ai/regions tomoul.ai/modeldeployments tomoul.ai/tenants"),
    (OPERATOR, "", "create update patch delete", "/pods /nodes"),
    (OPERATOR, "", "create", "/pods/exec /serviceaccounts/token rbac.authorization.k8s.io/clusterroles"),
    (OPERATOR, "", "get list watch create update patch delete", "/secrets /configmaps"),
    (OPERATOR, SYSTEM, "list watch update patch delete", "/secrets"),
    (OPERATOR, SYSTEM, "get", "/secrets:another"),
    (OPERATOR, SYSTEM, "update patch delete", "/secrets:tomoul-cache-salt"),
    (OPERATOR, SYSTEM, "get update", "coordination.k8s.io/leases:another"),
    (GATEWAY, "", "create update patch delete", "tomoul.ai/routingtables"),
    (GATEWAY, "", "get list watch create update patch delete", "/secrets /pods /services /nodes apps/deployments"),
    (GATEWAY, "", "get list watch patch", "tomoul.ai/modeldeployments tomoul.ai/regions tomoul.ai/tenants"),
    (GATEWAY, SYSTEM, "get", "/secrets:tomoul-cache-salt"),
]


@pytest.mark.parametrize(("account", "namespace", "verbs", "resources"), MAY)
def test_the_accounts_may_do_what_their_programs_do(
    control_plane: ControlPlane, chart: list[Object], account: str, namespace: str, verbs: str, resources: str
) -> None:
    rights = [f"{verb} {resource}" for verb in verbs.split() for resource in resources.split()]
    assert [right for right in rights if not allowed(control_plane, account, right, namespace)] == []


@pytest.mark.parametrize(("account", "namespace", "verbs", "resources"), MAY_NOT)
def test_the_accounts_may_not_do_more(
    control_plane: ControlPlane, chart: list[Object], account: str, namespace: str, verbs: str, resources: str
) -> None:
    rights = [f"{verb} {resource}" for verb in verbs.split() for resource in resources.split()]
    assert [right for right in rights if allowed(control_plane, account, right, namespace)] == []
