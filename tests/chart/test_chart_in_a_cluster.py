"""The rendered chart on a real API server: admission and Pod Security. Rights are in tests/privilege."""

from collections.abc import Iterator

import pytest
import yaml

from tests.chart.helm import CHART, Object, helm, one, render
from tests.controlplane.api import ApiError
from tests.controlplane.harness import ControlPlane

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
    assert "tomoul.ai/region=us-east" in notes
    assert "'X-Tomoul-Region: us-east'" in notes
    assert "eu-west" not in notes
