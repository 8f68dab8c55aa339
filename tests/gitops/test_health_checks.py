"""What Argo CD and Flux make of a resource: their scripts and expressions, run over what a real operator says."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from cel_expr_python.cel import NewEnv, Type
from lupa.lua51 import LuaRuntime

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY
from tests.controlplane.kubelet import running, waiting
from tests.gitops.conftest import GitOpsCluster
from tests.integration.cluster import model
from tests.integration.operators import condition, path
from tomoul.api.conditions import ConditionType, Reason

FILES = REPOSITORY / "charts" / "tomoul" / "files" / "gitops"
ARGO: Mapping[str, str] = yaml.safe_load((FILES / "argocd-cm.yaml").read_text())["data"]
FLUX = {
    check["kind"]: check
    for check in yaml.safe_load((FILES / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]
}
Object = dict[str, Any]
CEL = NewEnv(variables={"metadata": Type.DYN, "status": Type.DYN})


def argo(item: Object) -> tuple[str, str]:
    """Health and message."""
    lua = LuaRuntime(register_eval=False)
    script = ARGO[f"resource.customizations.health.tomoul.ai_{item['kind']}"]
    found = lua.eval(f"function(obj) {script} end")(lua.table_from(item, recursive=True))
    return found["status"], found["message"]


def flux(item: Object) -> str:
    """`Failed`, `Current` or `InProgress`, looked for in Flux's order."""
    if (
        item.get("status", {}).get("observedGeneration", item["metadata"]["generation"])
        != item["metadata"]["generation"]
    ):
        return "InProgress"
    data = {"metadata": item["metadata"], "status": item.get("status", {})}
    for name, verdict in (("failed", "Failed"), ("current", "Current")):
        if CEL.compile(FLUX[item["kind"]][name]).eval(data=data).value():
            return verdict
    return "InProgress"


def judged(item: Object) -> tuple[str, str]:
    return argo(item)[0], flux(item)


@pytest.fixture(scope="module")
def unwell(cluster: GitOpsCluster) -> Iterator[GitOpsCluster]:
    """Models that wait, fail or are refused, and a Region that is out of use."""
    image = "registry.example.com/engine:broken"
    many = {"accelerator": "nvidia-l4", "count": 16, "cpu": "100m", "memory": "256Mi"}
    here = [{"name": "eu-west", "replicas": 1}]
    items = [
        model("waits", "models", resources=many, regions=here),
        model("fails", "models", engine={"type": "LlamaCpp", "image": image}, regions=here),
        model("refused", "models", engine={"type": "LlamaCpp", "args": ["--port", "1"]}, regions=here),
        model("off", "models", regions=[{"name": "off", "replicas": 1}]),
        model("none", "models", regions=[{"name": "eu-west", "replicas": 0}]),
        {**cluster.get("Region", "ap-south"), "metadata": {"name": "off"}, "spec": {"state": "Disabled"}, "status": {}},
    ]
    cluster.kubelet.set_status(
        lambda pod: (waiting("ImagePullBackOff") if pod["spec"]["containers"][0]["image"] == image else running)(pod)
    )
    for item in items:
        cluster.apply(item)
    yield cluster
    for item in items:
        cluster.api.delete(path(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", "")))


@pytest.mark.parametrize(
    ("kind", "name", "reason", "verdict"),
    [
        ("ModelDeployment", "tiny-chat", "Ready", ("Healthy", "Current")),
        ("ModelDeployment", "far", "HostedElsewhere", ("Healthy", "Current")),
        ("ModelDeployment", "waits", "Unschedulable", ("Progressing", "InProgress")),
        ("ModelDeployment", "fails", "ImagePullFailed", ("Degraded", "Failed")),
        ("ModelDeployment", "refused", "UnsupportedByEngine", ("Degraded", "Failed")),
        ("ModelDeployment", "off", "RegionDisabled", ("Healthy", "Current")),
        ("ModelDeployment", "none", "ScaledToZero", ("Healthy", "Current")),
        ("Region", "eu-west", "Ready", ("Healthy", "Current")),
        ("Region", "ap-south", "HostedElsewhere", ("Healthy", "Current")),
        ("Region", "off", "RegionDisabled", ("Healthy", "Current")),
    ],
)
def test_health_is_what_the_operator_says_of_a_resource(
    unwell: GitOpsCluster, kind: str, name: str, reason: str, verdict: tuple[str, str]
) -> None:
    def said() -> Object:
        unwell.acknowledge_all()
        item = unwell.get(kind, name, "models" if kind == "ModelDeployment" else "")
        assert condition(item, "Ready")["reason"] == reason, item["status"]
        return item

    item = eventually(said)
    assert judged(item) == verdict
    assert argo(item)[1].startswith(reason)
    # What was said of another generation says nothing of this one, and who has heard nothing waits.
    newer = {**item, "metadata": {**item["metadata"], "generation": item["metadata"]["generation"] + 1}}
    assert judged(newer) == ("Progressing", "InProgress")
    assert judged({name: value for name, value in item.items() if name != "status"}) == ("Progressing", "InProgress")


@pytest.mark.parametrize("reason", ["DownloadFailed", "PodsRefused"])
def test_weights_that_cannot_be_downloaded_and_pods_that_nobody_makes_are_degraded(
    cluster: GitOpsCluster, reason: str
) -> None:
    item = cluster.model("tiny-chat", "models")
    for entry in item["status"]["conditions"]:
        if entry["type"] in ("WorkloadReady", "Ready"):
            entry |= {"status": "False", "reason": reason, "message": "404"}
    assert judged(item) == ("Degraded", "Failed")


def test_a_resource_that_the_operator_cannot_read_is_degraded_in_its_present_generation(unwell: GitOpsCluster) -> None:
    item = unwell.model("tiny-chat", "models")
    for entry in item["status"]["conditions"]:
        if entry["type"] in ("Accepted", "Ready"):
            entry |= {"status": "False", "reason": "InvalidSpec", "message": "`spec.x`: no such field"}
    assert judged(item) == ("Degraded", "Failed")


@pytest.mark.parametrize(
    ("status", "reason", "verdict"),
    [
        ("True", "Enforced", ("Healthy", "Current")),
        ("False", "AuthDisabled", ("Healthy", "Current")),
        ("Unknown", "HostedElsewhere", ("Healthy", "Current")),
        ("False", "WaitingForGateways", ("Progressing", "InProgress")),
    ],
)
def test_a_tenant_is_judged_by_whether_gateways_enforce_it(
    cluster: GitOpsCluster, status: str, reason: str, verdict: tuple[str, str]
) -> None:
    item = cluster.get("Tenant", "acme", "models")
    (entry,) = [entry for entry in item["status"]["conditions"] if entry["type"] == "Enforced"]
    entry |= {"status": status, "reason": reason}
    assert judged(item) == verdict


def test_a_table_is_healthy_once_every_gateway_has_accepted_it(cluster: GitOpsCluster) -> None:
    table = cluster.get("RoutingTable", "eu-west")
    assert argo(table) == ("Healthy", "Accepted by all gateways")
    generation = table["metadata"]["generation"]
    name = table["status"]["gateways"][0]["name"]
    table["status"]["gateways"][0] |= {"acceptedGeneration": generation - 1}
    assert argo(table) == ("Progressing", f"Not yet accepted by {name}")
    table["status"]["gateways"][0] |= {"rejectedGeneration": generation, "message": "no such cluster"}
    assert argo(table) == ("Degraded", f"Refused by {name}: no such cluster")
    assert argo({**table, "status": {}})[0] == "Progressing"


def test_every_reason_that_the_checks_name_is_one_that_the_operator_gives_and_both_name_the_same() -> None:
    lua = ARGO["resource.customizations.health.tomoul.ai_ModelDeployment"]
    fatal = set(re.findall(r"(\w+) = true", lua))
    named = re.search(r"c\.type == 'Ready' && c\.reason in \[([^]]*)\]", FLUX["Region"]["failed"])
    assert named
    assert set(re.findall(r"\w+", named[1])) == fatal
    expressions = [check[name] for check in FLUX.values() for name in ("current", "failed")]
    every = fatal | set(re.findall(r'reason == "(\w+)"', lua)) | set(re.findall(r"'(\w+)'", " ".join(expressions)))
    assert every - set(ConditionType) - {"True", "False"} <= set(Reason)
