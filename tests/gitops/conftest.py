from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.controlplane.api import eventually
from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.gitops.audit import Audit, audit_flags
from tests.integration.cluster import REGIONS, SYSTEM, Cluster, Object, example, model
from tests.integration.operators import OperatorProcess

MANAGERS = ("a", "b")


class GitOpsCluster(Cluster):
    """A cluster whose resources are applied by kubectl, as field manager, and whose operator has a name of its own."""

    def __init__(self, control_plane: ControlPlane, kubelet: Kubelet, audit_folder: Path, folder: Path) -> None:
        self.kubeconfig = control_plane.service_account_kubeconfig(SYSTEM, "operator")
        self.audit = Audit(audit_folder, f"system:serviceaccount:{SYSTEM}:operator")
        super().__init__(control_plane, kubelet, folder)

    def start(self) -> OperatorProcess:
        self.replicas += 1
        flags = (f"--host-regions={','.join(REGIONS)},off", "--gateway-replicas=1", "--resync-seconds=1")
        return OperatorProcess(self.kubeconfig, self.folder / f"operator-{self.replicas}.log", *flags)

    def kubectl_apply(self, manager: str, items: list[Object]) -> str:
        """What kubectl said. Raises KubectlError, for conflicts too."""
        command = ("apply", "--server-side", f"--field-manager={manager}", "-f", "-")
        return self.control_plane.kubectl(*command, input=yaml.safe_dump_all(items))

    def lists(self) -> float:
        """Rounds of lists that the operator has finished, over all kinds."""
        found = self.leader.metrics().items()
        return sum(value for name, value in found if name.startswith("tomoul_resyncs_total") and "done" in name)

    def after_two_rounds(self) -> None:
        """Wait until everything has been listed twice more and the queue is empty."""
        kinds = sum(name.startswith("tomoul_objects{") for name in self.leader.metrics())
        until = self.lists() + 2 * kinds
        eventually(lambda: self.lists() >= until and self.leader.metrics()["tomoul_queue_depth"] == 0, 60)

    def settle(self) -> None:
        """Wait until gateways have acknowledged everything and two rounds of lists have brought no write."""

        def quiet() -> bool:
            self.acknowledge_all()
            moment = self.audit.now()
            self.after_two_rounds()
            return self.audit.since(moment) == []

        eventually(quiet, 90, "the operator comes to rest")


def manifests() -> list[Object]:
    """What is in git: the examples, and what tends to be normalised, defaulted or scaled by others."""
    regions = list(yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text()))
    tolerations = [{"key": "gpu", "value": "yes"}]
    placement = {"tolerations": tolerations, "accelerators": [{"name": "nvidia-l4", "tolerations": tolerations}]}
    elsewhere = {**regions[0], "metadata": {"name": "ap-south"}, "spec": {"placement": placement}}
    odd = model("odd-quantities", "models", resources={"cpu": "0.5", "memory": "1024Mi"})
    scaled = model("scaled", "models", regions=[{"name": "eu-west"}])
    scaling = {"minReplicas": 1, "maxReplicas": 3, "targetInFlight": 8}
    followed = model("follows-calls", "models", regions=[{"name": "us-east", "scaling": scaling}])
    far = model("far", "models", regions=[{"name": "ap-south", "replicas": 1}])
    tenant = {
        "apiVersion": regions[0]["apiVersion"],
        "kind": "Tenant",
        "metadata": {"name": "acme", "namespace": "models"},
        "spec": {"apiKeys": {"secretName": "acme-keys"}, "models": ["tomoul/tiny-chat"]},
    }
    return [*regions, elsewhere, example("tiny-chat"), example("tiny-solo"), odd, scaled, followed, far, tenant]


@pytest.fixture(scope="package")
def audit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="package")
def audited_control_plane(audit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory, audit_flags(audit_folder))


@pytest.fixture(scope="package")
def cluster(
    audited_control_plane: ControlPlane, audit_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GitOpsCluster]:
    """Everything in git, applied and at rest."""
    control_plane = audited_control_plane
    for namespace in (SYSTEM, "models"):
        control_plane.add_namespace(namespace)
    for account in ("tomoul-gateway", "operator"):
        control_plane.kubectl("create", "serviceaccount", account, "-n", SYSTEM)
    control_plane.kubectl(
        "create", "clusterrolebinding", "operator", "--clusterrole=cluster-admin",
        f"--serviceaccount={SYSTEM}:operator",
    )  # fmt: skip
    for region in REGIONS:
        control_plane.add_node(f"gpu-{region}", {"topology.kubernetes.io/region": region}, {"nvidia.com/gpu": "8"})
    with control_plane.run_pods() as kubelet:
        started = GitOpsCluster(control_plane, kubelet, audit_folder, tmp_path_factory.mktemp("gitops"))
        try:
            eventually(started.leader.leads, 60)
            started.kubectl_apply(MANAGERS[0], manifests())
            for name in ("tiny-chat", "tiny-solo", "odd-quantities", "scaled"):
                started.ready(name, "models")
            started.settle()
            yield started
        finally:
            status, log = started.leader.stop(), started.leader.log.read_text()
        assert status == 0, log
        assert "this is a bug" not in log, log
