"""The kind cluster: two regions as labelled workers, with GPUs that exist only in the nodes' status."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.command import ROOT, CommandError, find, run
from e2e.progress import Progress
from e2e.waiting import eventually

NAME = "tomoul-e2e"
KUBECONFIG = ROOT / ".e2e" / "kubeconfig"
NODE_IMAGE = "kindest/node:v1.34.4"
GPUS_PER_NODE = 8
REGION_LABEL = "topology.kubernetes.io/region"
Object = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A running cluster, through kubectl."""

    kubeconfig: Path = KUBECONFIG

    def kubectl(self, *args: str, input: str | None = None, timeout: float = 120) -> str:  # noqa: A002
        """What kubectl printed. Raises CommandError."""
        return run(find("kubectl"), f"--kubeconfig={self.kubeconfig}", *args, input=input, timeout=timeout)

    def helm(self, *args: str, timeout: float = 300) -> str:
        """What helm printed. Raises CommandError."""
        return run(find("helm"), f"--kubeconfig={self.kubeconfig}", *args, timeout=timeout)

    def get(self, *args: str) -> Object:
        """One object; `args` as kubectl get takes them."""
        found: Object = json.loads(self.kubectl("get", "-o", "json", *args))
        return found

    def list(self, *args: str) -> list[Object]:
        """The items of a list; `args` as kubectl get takes them."""
        items: list[Object] = self.get(*args)["items"]
        return items

    def workers(self) -> dict[str, Object]:
        """The worker nodes by region."""
        nodes = self.list("nodes", "-l", REGION_LABEL)
        return {node["metadata"]["labels"][REGION_LABEL]: node for node in nodes}

    def host_address(self) -> str:
        """Address of this host, as pods reach it."""
        (network,) = json.loads(run("docker", "network", "inspect", "kind"))
        found = [str(entry["Gateway"]) for entry in network["IPAM"]["Config"] if "Gateway" in entry]
        return next(address for address in found if ":" not in address)

    def node_address(self, region: str) -> str:
        """Address of a region's node, as this host reaches it."""
        addresses = self.workers()[region]["status"]["addresses"]
        (address,) = [str(entry["address"]) for entry in addresses if entry["type"] == "InternalIP"]
        return address


def ensure_cluster(progress: Progress) -> Cluster:
    """The cluster, made anew unless a healthy one is there."""
    KUBECONFIG.parent.mkdir(exist_ok=True)
    cluster = Cluster()
    if NAME in run("kind", "get", "clusters").split():
        if _healthy(cluster):
            progress.say(f"reusing the kind cluster {NAME} (`kind delete cluster --name {NAME}` removes it)")
            _add_gpus(cluster)
            return cluster
        progress.say(f"the kind cluster {NAME} is not healthy")
        run("kind", "delete", "cluster", "--name", NAME, "--kubeconfig", KUBECONFIG)
    with progress.step("creating a kind cluster of three nodes"):
        image = ("--image", NODE_IMAGE) if run("docker", "images", "-q", NODE_IMAGE).strip() else ()
        config = ("--config", ROOT / "e2e" / "kind.yaml", "--kubeconfig", KUBECONFIG, "--wait", "180s")
        run("kind", "create", "cluster", "--name", NAME, *image, *config, timeout=900)
        cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=120s", timeout=150)
    _add_gpus(cluster)
    return cluster


def _healthy(cluster: Cluster) -> bool:
    try:
        run("kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", KUBECONFIG)
        cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=20s", "--request-timeout=20s")
        return len(cluster.workers()) == 2
    except CommandError:
        return False


def _add_gpus(cluster: Cluster) -> None:
    value = str(GPUS_PER_NODE)
    patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": value}]
    for node in cluster.workers().values():
        name = node["metadata"]["name"]
        cluster.kubectl("patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps(patch))
    # The kubelet makes allocatable of it when it next reports.
    eventually(
        lambda: [node["status"]["allocatable"].get("nvidia.com/gpu") for node in cluster.workers().values()],
        lambda gpus: set(gpus) == {value},
        seconds=90,
    )
