"""`tomoul operator` as a process, and the objects that a test looks at."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.controlplane.api import Api, eventually
from tests.integration.forked import Forked

GROUP = "/apis/tomoul.ai/v1alpha1"
COLLECTIONS = {
    "Region": f"{GROUP}/regions",
    "ModelDeployment": f"{GROUP}/modeldeployments",
    "Tenant": f"{GROUP}/tenants",
    "RoutingTable": f"{GROUP}/routingtables",
    "Deployment": "/apis/apps/v1/deployments",
    "Service": "/api/v1/services",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "Role": "/apis/rbac.authorization.k8s.io/v1/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/rolebindings",
}
OURS = "app.kubernetes.io/managed-by=tomoul"


class OperatorProcess:
    """One replica of the operator, whose gateways ask for no keys unless `flags` say otherwise."""

    def __init__(self, kubeconfig: Path, log: Path, *flags: str, forked: bool = True) -> None:
        """Not `forked`, it starts as it does in a pod, which takes seconds."""
        self.log = log
        log.write_text("")
        arguments = (
            "operator", f"--kubeconfig={kubeconfig}", "--health-port=0", "--metrics-port=0", "--log-format=text",
            "--gateway-auth=None", *flags,
        )  # fmt: skip
        self.process = Forked(arguments, log) if forked else started(arguments, log)

    def ports(self) -> tuple[int, int]:
        found = re.search(r"health on port (\d+), metrics on port (\d+)", self.log.read_text())
        assert found, f"the operator has not started: {self.log.read_text()}"
        return int(found[1]), int(found[2])

    def metrics(self) -> dict[str, float]:
        """Values of the operator's own metrics by name and labels, as they are written."""
        port = eventually(self.ports)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("tomoul"))
        return {name: float(value) for name, value in pairs if "_created" not in name}

    def read_json(self, where: str) -> Any:
        """The JSON at a path of the metrics port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports()[1]}{where}", timeout=10) as answer:
            return json.loads(answer.read())

    def writes(self) -> dict[str, float]:
        return {name: value for name, value in self.metrics().items() if name.startswith("tomoul_api_writes_total")}

    def health(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports()[0]}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def leads(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self.metrics()["tomoul_leader"] == 1

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
        return status


def started(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """The command `tomoul` in a process of its own."""
    with log.open("ab") as output:
        return subprocess.Popen([sys.executable, "-m", "tomoul", *arguments], stdout=output, stderr=output)


def path(kind: str, name: str, namespace: str = "") -> str:
    """URL path of an object."""
    collection = COLLECTIONS[kind]
    if namespace:
        head, _, plural = collection.rpartition("/")
        collection = f"{head}/namespaces/{namespace}/{plural}"
    return f"{collection}/{name}"


def children(api: Api, selector: str, *kinds: str) -> list[dict[str, Any]]:
    """What the operator has made, by label selector; of all kinds unless told."""
    found: list[dict[str, Any]] = []
    for kind in kinds or [kind for kind in COLLECTIONS if not COLLECTIONS[kind].startswith(GROUP)]:
        items = api.get(COLLECTIONS[kind], labelSelector=f"{OURS},{selector}")["items"]
        found += [{"kind": kind, **item} for item in items]
    return found


def condition(item: dict[str, Any], kind: str, region: str = "") -> dict[str, Any]:
    """A condition of an object, or of a ModelDeployment's row for a region; AssertionError while there is none."""
    status = item.get("status", {})
    if region:
        rows = [row for row in status.get("regions", ()) if row["name"] == region]
        assert rows, f"there is no row for {region} in {status}"
        status = rows[0]
    found = [entry for entry in status.get("conditions", ()) if entry["type"] == kind]
    assert found, f"there is no condition {kind} in {status}"
    return dict(found[0])


def versions(api: Api) -> dict[tuple[str, str, str], str]:
    """resourceVersion of everything that the operator could have written."""
    return {
        (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for kind, collection in COLLECTIONS.items()
        for item in api.get(collection)["items"]
    }
