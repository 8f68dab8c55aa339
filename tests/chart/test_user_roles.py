"""What people may do with Tomoul's kinds by the cluster's own roles, as the API server's authorizer says."""

from collections.abc import Iterator

import pytest
import yaml

from tests.chart.helm import Object, one, render
from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane

ROLES = ("tomoul-view", "tomoul-edit", "tomoul-tenants-edit")
READS, WRITES = ("get", "list", "watch"), ("create", "update", "patch", "delete")
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module", autouse=True)
def chart(control_plane: ControlPlane) -> Iterator[None]:
    manifest = yaml.safe_dump_all(
        found for found in render("rbac.aggregateToEdit=true") if found["metadata"]["name"] in ROLES
    )
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifest)
    yield
    control_plane.kubectl("delete", "--wait=false", "-f", "-", input=manifest)


def user(control_plane: ControlPlane, namespace: str, role: str) -> str:
    """Somebody who has this ClusterRole in the namespace."""
    name = f"{role}-of-{namespace}"
    binding: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    control_plane.api.apply(f"{RBAC}/namespaces/{namespace}/rolebindings/{name}", binding)
    return name


def allowed(control_plane: ControlPlane, name: str, namespace: str) -> dict[str, set[str]]:
    """Verbs by resource that the user may use in the namespace, or in the cluster for what has none."""
    found: dict[str, set[str]] = {}
    for resource in ("modeldeployments", "modeldeployments/status", "tenants", "regions", "routingtables"):
        plural, _, subresource = resource.partition("/")
        where = "" if plural in ("regions", "routingtables") else namespace
        for verb in (*READS, *WRITES):
            attributes = {"verb": verb, "group": "tomoul.ai", "resource": plural, "subresource": subresource}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": name, "resourceAttributes": {**attributes, "namespace": where}},
            }
            answer = control_plane.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
            if answer["status"]["allowed"]:
                found.setdefault(resource, set()).add(verb)
    return found


@pytest.mark.parametrize(
    ("role", "models", "tenants"),
    [
        ("view", READS, READS),
        ("edit", (*READS, *WRITES), READS),
        ("admin", (*READS, *WRITES), READS),
        ("tomoul-tenants-edit", (), (*READS, *WRITES)),
    ],
)
def test_a_role_of_the_cluster_reads_or_writes_what_people_write_in_a_namespace_and_nothing_else(
    control_plane: ControlPlane, namespace: str, role: str, models: tuple[str, ...], tenants: tuple[str, ...]
) -> None:
    name = user(control_plane, namespace, role)
    wanted = {"modeldeployments": set(models), "tenants": set(tenants)}
    wanted = {resource: verbs for resource, verbs in wanted.items() if verbs}
    # The API server's controller puts the rules into `view`, `edit` and `admin` a moment later.
    eventually(lambda: allowed(control_plane, name, namespace) == wanted)


@pytest.mark.parametrize(("role", "unless_told"), [("view", True), ("edit", False)])
def test_the_clusters_view_reads_and_its_edit_writes_only_if_the_values_say_so(role: str, unless_told: bool) -> None:
    label, value = f"rbac.authorization.k8s.io/aggregate-to-{role}", f"rbac.aggregateTo{role.capitalize()}"
    for given, added in (((), unless_told), ((f"{value}=true",), True), ((f"{value}=false",), False)):
        labels = one(render(*given), "ClusterRole", f"tomoul-{role}")["metadata"]["labels"]
        assert (label in labels) == added
