"""The chart's roles: what they grant is what the operator and the gateways need, and no more."""

from typing import Any, NamedTuple

import pytest
import yaml

from tests.chart.helm import Object, one, render
from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.integration.operators import path
from tests.privilege.exercise import MODELS, RESTRICTED, SYSTEM, Exercise
from tests.privilege.recorder import Recorder
from tests.privilege.rights import Request, Right, granted, only_by
from tomoul.api.tenant import Tenant
from tomoul.plan.key_access import NAME, key_access
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key, World

ACCOUNTS = ("tomoul-operator", "tomoul-gateway")
VALUES = (
    f"workloadNamespaces={{{MODELS}}}", "gateway.replicas=1", "scaling.externalMetrics=true",
    "commonLabels.team=inference",
)  # fmt: skip
KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def user(account: str) -> str:
    return f"system:serviceaccount:{SYSTEM}:{account}"


class Exercised(NamedTuple):
    chart: list[Object]
    asked: dict[str, set[Request]]
    """By account."""

    def granted(self, account: str) -> set[Right]:
        return granted(self.chart, account)


def key_role() -> list[Object]:
    """What the operator gives the gateways for the exercise's tenant."""
    tenant = Tenant.model_validate(
        {"metadata": {"name": "acme", "namespace": MODELS}, "spec": {"apiKeys": {"secretName": "acme"}}}
    )
    world = World(settings=Settings(namespace=SYSTEM), tenants={Key(MODELS, "acme"): tenant})
    return [dict(item) for item in key_access(world, MODELS)]


@pytest.fixture(scope="module")
def exercised(control_plane: ControlPlane, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Exercised:
    """All that operator and gateway asked the API server for, in namespaces that hold pods to `restricted`."""
    chart = [found for found in render(*VALUES) if found["kind"] in KINDS]
    for namespace in (SYSTEM, MODELS):
        control_plane.add_namespace(namespace, RESTRICTED)
    control_plane.kubectl(
        "apply", "--server-side", "--validate=strict", "-f", "-", input=yaml.safe_dump_all(chart)
    )  # fmt: skip
    for region in yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text()):
        name = region["metadata"]["name"]
        control_plane.api.apply(path("Region", name), region)
        control_plane.add_node(f"gpu-{name}", {"topology.kubernetes.io/region": name}, {"nvidia.com/gpu": "8"})
    pod = one(render(*VALUES), "Deployment", "tomoul-operator")["spec"]["template"]["spec"]
    exercise = Exercise(control_plane, tmp_path_factory.mktemp("exercise"), pod["containers"][0]["args"])

    def used_up() -> bool:
        return all(any(r.covers(q) for q in recorder.asked(user(a))) for a in ACCOUNTS for r in granted(chart, a))

    chart += key_role()
    with control_plane.run_pods():
        exercise.run(used_up)
    return Exercised(chart, {account: recorder.asked(user(account)) for account in ACCOUNTS})


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_right_is_needed_and_nothing_is_asked_for_without_one(exercised: Exercised, account: str) -> None:
    rights, asked = exercised.granted(account), exercised.asked[account]
    assert [right for right in sorted(rights) if not any(right.covers(request) for request in asked)] == []
    assert [request for request in sorted(asked) if not any(right.covers(request) for right in rights)] == []


@pytest.mark.usefixtures("exercised")
def test_the_secrets_that_the_operator_makes_have_the_labels_of_all_objects(control_plane: ControlPlane) -> None:
    for name in ("tomoul-cache-salt", "tomoul-external-metrics"):
        secret = control_plane.api.get(f"/api/v1/namespaces/{SYSTEM}/secrets/{name}")
        assert secret["metadata"].get("labels", {}).get("team") == "inference", name


@pytest.mark.parametrize("account", ACCOUNTS)
def test_without_any_one_right_something_that_they_do_is_refused(
    control_plane: ControlPlane, exercised: Exercised, account: str
) -> None:
    rights = exercised.granted(account)
    missed = {right: only_by(right, rights, exercised.asked[account]) for right in rights}
    assert [right for right, request in sorted(missed.items()) if request is None] == []
    # The same by the real authorizer: an account that has all rights but one may not do what needs that one.
    bind(control_plane, "spare", rights)
    eventually(lambda: all(may(control_plane, "spare", request) for request in missed.values()))
    for right, request in sorted(missed.items()):
        bind(control_plane, "spare", rights - {right})
        eventually(lambda request=request: not may(control_plane, "spare", request), message=f"{right} is missed")
    bind(control_plane, "spare", set())


def test_workload_namespaces_bound_where_the_same_rights_hold(exercised: Exercised) -> None:
    def kinds(objects: list[Object]) -> set[tuple[str, str, str]]:
        return {right[:3] for right in granted(objects, "tomoul-operator")}

    everywhere = render("scaling.externalMetrics=true")
    assert kinds(everywhere) == kinds(exercised.chart)
    writes = {"create", "patch", "delete", "update"}
    own = ("tomoul.ai",)
    wide = {r for r in exercised.granted("tomoul-operator") if r.verb in writes and not r.namespace and not r.name}
    assert {right.group for right in wide} == set(own), "cluster-wide it writes nothing but its own group's resources"
    named = {r for r in exercised.granted("tomoul-operator") if r.verb in writes and not r.namespace and r.name}
    external_metrics = "v1beta1.external.metrics.k8s.io"
    assert named == {Right("patch", "apiregistration.k8s.io", "apiservices", name=external_metrics)}
    both = render(f"workloadNamespaces={{{MODELS},{SYSTEM}}}", "scaling.externalMetrics=true")
    assert kinds(both) == kinds(everywhere)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("values", [(), VALUES])
def test_no_account_reads_secrets_but_by_their_names(account: str, values: tuple[str, ...]) -> None:
    for right in granted(render(*values), account):
        if right.resource == "secrets" and right.verb != "create":
            assert right.name, right
            assert right.namespace == SYSTEM, right
        assert right.verb not in ("impersonate", "deletecollection"), right
        if right.verb in ("escalate", "bind"):
            # tests/chart/test_gateway_keys.py holds what may be in it.
            assert (right.resource, right.name) == ("roles", NAME), right
        assert right.resource not in ("pods/exec", "serviceaccounts/token"), right


def bind(control_plane: ControlPlane, account: str, rights: set[Right]) -> None:
    """Give an account of the system namespace exactly these rights."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}
    for namespace in ("", SYSTEM, MODELS, "default", "kube-system"):
        prefix = "Cluster" if not namespace else ""
        where = f"/namespaces/{namespace}" if namespace else ""
        base = f"/apis/rbac.authorization.k8s.io/v1{where}/{prefix.lower()}"
        meta = {"name": account} | ({"namespace": namespace} if namespace else {})
        head: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": meta}
        rules = [right.rule() for right in sorted(rights) if right.namespace == namespace]
        control_plane.api.apply(f"{base}roles/{account}", {**head, "kind": f"{prefix}Role", "rules": rules})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{prefix}Role", "name": account}
        binding = {**head, "kind": f"{prefix}RoleBinding", "roleRef": ref, "subjects": [subject]}
        control_plane.api.apply(f"{base}rolebindings/{account}", binding)


def may(control_plane: ControlPlane, account: str, request: Request | None) -> bool:
    """What the API server's own authorizer says."""
    assert request is not None
    attributes = request._asdict()
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user(account), "groups": groups, "resourceAttributes": attributes},
    }
    answer = control_plane.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])
