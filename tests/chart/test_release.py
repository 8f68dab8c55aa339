"""A release of the chart on a real API server: upgrade, going back, removal, and what becomes of what people wrote."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import CHART, HelmError, Object, helm
from tests.controlplane.api import eventually
from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane

SYSTEM = "tomoul-system"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
REGION = "/apis/tomoul.ai/v1alpha1/regions/eu-west"
KINDS = (
    "serviceaccounts,services,deployments,networkpolicies,poddisruptionbudgets,configmaps,roles,rolebindings,"
    "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,apiservices"
)
OURS = "app.kubernetes.io/instance=tomoul"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own: the others must not notice that the definitions go."""
    yield from run_control_plane(tmp_path_factory)


@pytest.fixture
def bare(control_plane: ControlPlane) -> ControlPlane:
    """A cluster that has never heard of Tomoul."""
    control_plane.kubectl("delete", "crd", "--all", "--wait=true")
    return control_plane


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """A chart from before Regions had a `displayName`."""
    copy = tmp_path / "tomoul"
    shutil.copytree(CHART, copy)
    file = copy / "files" / "crds" / "tomoul.ai_regions.yaml"
    definition = yaml.safe_load(file.read_text())
    (version,) = definition["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["displayName"]
    file.write_text(yaml.safe_dump(definition))
    return copy


def release(control_plane: ControlPlane, *command: str) -> str:
    return helm(*command, "--kubeconfig", str(control_plane.kubeconfig), "--namespace", SYSTEM)


def install(control_plane: ControlPlane, chart: Path, *options: str) -> None:
    release(control_plane, "upgrade", "--install", "tomoul", str(chart), "--create-namespace", *options)


def write_region(control_plane: ControlPlane, **spec: str) -> None:
    """Apply the Region, until the API server keeps all of it: it serves a changed definition a moment late."""
    item: Object = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": "eu-west"}, "spec": spec}
    eventually(lambda: spec.items() <= control_plane.api.apply(REGION, item)["spec"].items())


def knows_names(control_plane: ControlPlane) -> bool:
    """Whether a Region may have a `displayName`, by what the API server says that it serves."""
    served = control_plane.api.get("/openapi/v3/apis/tomoul.ai/v1alpha1")["components"]["schemas"]
    return "displayName" in served["ai.tomoul.v1alpha1.Region"]["properties"]["spec"]["properties"]


def test_an_upgrade_brings_new_fields_and_going_back_hides_them_until_something_is_written(
    bare: ControlPlane, previous: Path
) -> None:
    install(bare, previous)
    write_region(bare, jurisdiction="EU")
    eventually(lambda: not knows_names(bare))
    install(bare, CHART)
    eventually(lambda: knows_names(bare))
    write_region(bare, jurisdiction="EU", displayName="Europe")
    uid = bare.api.get(REGION)["metadata"]["uid"]

    release(bare, "rollback", "tomoul", "1")
    eventually(lambda: "displayName" not in bare.api.get(REGION)["spec"])
    install(bare, CHART)
    eventually(lambda: bare.api.get(REGION)["spec"].get("displayName") == "Europe")

    release(bare, "rollback", "tomoul", "1")
    eventually(lambda: "displayName" not in bare.api.get(REGION)["spec"])
    # Whatever is written, a status for one, is written without what the definition does not know.
    bare.api.patch(f"{REGION}/status", {"status": {"models": "0/0"}})
    install(bare, CHART)
    eventually(lambda: knows_names(bare))
    found = bare.api.get(REGION)
    assert found["spec"] == {"jurisdiction": "EU", "state": "Active"}
    assert found["metadata"]["uid"] == uid, "nothing else is lost"


def test_a_removed_release_leaves_what_people_wrote_and_is_taken_up_where_it_was(bare: ControlPlane) -> None:
    install(bare, CHART, "--set", "scaling.externalMetrics=true")
    write_region(bare, displayName="Europe")
    assert len(bare.kubectl("get", KINDS, "-A", "-l", OURS, "-o", "name").splitlines()) > 20
    kept = release(bare, "uninstall", "tomoul", "--wait")
    assert bare.kubectl("get", KINDS, "-A", "-l", OURS, "-o", "name") == ""
    assert bare.kubectl("get", "-n", "kube-system", "roles,rolebindings", "-o", "name").count("tomoul") == 0
    definitions = {found["metadata"]["name"] for found in bare.api.get(DEFINITIONS)["items"]}
    assert definitions == {f"{kind}.tomoul.ai" for kind in ("regions", "modeldeployments", "routingtables", "tenants")}
    assert all(name in kept for name in definitions), "and Helm says so"
    assert bare.api.get(REGION)["spec"]["displayName"] == "Europe"

    install(bare, CHART)
    assert bare.api.get(REGION)["spec"]["displayName"] == "Europe"


def test_a_second_release_and_one_under_another_name_are_refused_by_helm(bare: ControlPlane) -> None:
    install(bare, CHART)
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        release(bare, "install", "another", str(CHART))
    release(bare, "uninstall", "tomoul", "--wait")
    with pytest.raises(HelmError, match='must equal "another": current value is "tomoul"'):
        release(bare, "install", "another", str(CHART))
    release(bare, "install", "another", str(CHART), "--take-ownership")
