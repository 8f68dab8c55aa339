"""The rendered chart on a real API server: admission and Pod Security. Rights are in tests/privilege."""

from collections.abc import Iterator

import pytest
import yaml

from tests.chart.helm import CHART, Object, as_the_kubelet_hands_on, helm, one, operator_args, render
from tests.chart.values import OTHER, Tree
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane
from tomoul.api.region import Region
from tomoul.plan.gateway import gateway
from tomoul.plan.gateway_overlay import read_overlay
from tomoul.plan.settings import Settings

SYSTEM = "tomoul-chart"
OPERATOR = "tomoul-operator"


@pytest.fixture(scope="module")
def chart(control_plane: ControlPlane) -> Iterator[list[Object]]:
    """The chart's objects, applied in a namespace that admits only pods that Pod Security `restricted` does."""
    control_plane.add_namespace(SYSTEM, {"pod-security.kubernetes.io/enforce": "restricted"})
    objects = render("scaling.externalMetrics=true", namespace=SYSTEM)
    manifest = yaml.safe_dump_all(found for found in objects if found["kind"] != "CustomResourceDefinition")
    control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=manifest)
    yield objects
    control_plane.kubectl("delete", "--wait=false", "-f", "-", input=manifest)
    control_plane.api.delete(f"/api/v1/namespaces/{SYSTEM}")


# The control plane has no Prometheus operator; tests/observability looks at what its objects say.
OF_OTHERS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")


def judged(control_plane: ControlPlane, objects: list[Object]) -> None:
    """Have the API server judge objects as it would before it keeps them."""
    command = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    said = control_plane.kubectl(*command, input=yaml.safe_dump_all(objects))
    assert len(said.splitlines()) == len(objects)


@pytest.fixture(scope="module")
def workload_namespaces(control_plane: ControlPlane) -> Iterator[None]:
    for name in OTHER["workloadNamespaces"]:
        control_plane.add_namespace(name)
    yield
    for name in OTHER["workloadNamespaces"]:
        control_plane.api.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.usefixtures("chart", "workload_namespaces")
@pytest.mark.parametrize(
    ("tree", "values"),
    [
        ({}, ("scaling.externalMetrics=true",)),
        (OTHER, ()),
        (OTHER, ("crds.install=true", "admission.jurisdictions=true")),
        ({}, (f"workloadNamespaces={{{SYSTEM},default}}", "scaling.kedaNamespace=", "admission.jurisdictions=false")),
        ({}, ("admission.allowedImages={a.example.com}", "operator.affinity=null", "gateway.affinity=null")),
    ],
)
def test_a_real_api_server_accepts_every_object_under_strict_validation(
    control_plane: ControlPlane, tree: Tree, values: tuple[str, ...]
) -> None:
    objects = render(*values, tree=tree, namespace=SYSTEM)
    judged(control_plane, [found for found in objects if found["kind"] not in OF_OTHERS])


def test_kubectl_that_applies_the_admission_policies_again_finds_them_unchanged(control_plane: ControlPlane) -> None:
    # With a default added in a list, a tool of GitOps that compares lists as a whole is out of sync for ever.
    kind = "ValidatingAdmissionPolicy"
    policies = [found for found in render("admission.jurisdictions=true", tree=OTHER) if found["kind"] == kind]
    assert len(policies) == 4
    for policy in policies:
        policy["metadata"]["name"] += "-again"  # which no binding names
    text = yaml.safe_dump_all(policies)
    try:
        control_plane.kubectl("apply", "-f", "-", input=text)
        again = control_plane.kubectl("apply", "-f", "-", input=text).splitlines()
        assert [line for line in again if not line.endswith(" unchanged")] == []
    finally:
        control_plane.kubectl("delete", "-f", "-", input=text)


@pytest.mark.usefixtures("chart")
@pytest.mark.parametrize("tree", [{}, OTHER])
def test_a_real_api_server_accepts_the_gateways_that_the_operator_makes_of_the_values(
    control_plane: ControlPlane, tree: Tree
) -> None:
    (flag,) = [arg for arg in as_the_kubelet_hands_on(operator_args(tree=tree)) if "--gateway-overlay=" in arg]
    overlay = read_overlay(flag.partition("=")[2])
    service_type = tree.get("gateway", {}).get("serviceType", "ClusterIP")
    settings = Settings(namespace=SYSTEM, gateway_overlay=overlay, gateway_service_type=service_type)
    region = Region.model_validate({"metadata": {"name": "eu-west"}, "spec": {}})
    judged(control_plane, [dict(item) for item in gateway(region, settings)])


def test_pod_security_restricted_admits_the_operators_pod(control_plane: ControlPlane, chart: list[Object]) -> None:
    template = one(chart, "Deployment", OPERATOR)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "operator"}}
    path = f"/api/v1/namespaces/{SYSTEM}/pods"
    control_plane.api.create(path, pod, dryRun="All")
    pod["spec"] = {**pod["spec"], "hostNetwork": True}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api.create(path, pod, dryRun="All")


def test_the_notes_call_a_region_that_the_cluster_hosts(control_plane: ControlPlane) -> None:
    kubeconfig = f"--kubeconfig={control_plane.kubeconfig}"
    command = (
        "install",
        "tomoul",
        str(CHART),
        kubeconfig,
        "--namespace=default",
        "--dry-run=server",
        "--take-ownership",
    )
    notes = helm(*command, "--set=hostRegions={us-east}").partition("\nNOTES:\n")[2]
    assert "workloadNamespaces" not in notes
    assert "tomoul.ai/region=us-east" in notes
    assert "'X-Tomoul-Region: us-east'" in notes
    assert "eu-west" not in notes
    kept = helm(*command, "--set=workloadNamespaces={default,chat}")
    assert (
        "The namespace of the examples, models, is none of workloadNamespaces: put default or chat in its place."
        in kept
    )
