"""etcd's data are restored from a backup: every version that anybody remembers is in the future."""

import shutil
import signal
from pathlib import Path

import yaml

from tests.controlplane.api import Api, eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.faults.world import MODELS, example_model
from tests.integration.operators import OperatorProcess, path

SYSTEM = "tomoul-system"
LATER = 300
"""Changes since the backup."""


def test_operators_follow_changes_within_a_minute_after_etcd_was_restored_from_a_backup(tmp_path: Path) -> None:
    with ControlPlane(tmp_path, controllers=False) as control_plane:
        api = control_plane.api
        for name in (SYSTEM, MODELS):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            api.create("/api/v1/namespaces", namespace)
        documents = yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text())
        api.apply(path("Region", "eu-west"), next(each for each in documents if each["metadata"]["name"] == "eu-west"))
        model = example_model("chat", "eu-west")

        def want(replicas: int) -> None:
            model["spec"]["regions"][0]["replicas"] = replicas
            api.apply(path("ModelDeployment", "chat", MODELS), model)
            eventually(lambda: operators.have_made(replicas), 60)

        with Operators(control_plane) as operators:
            want(1)
            with control_plane.without_etcd() as data:
                shutil.copytree(data, tmp_path / "backup")
            for number in range(LATER):
                note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"n": str(number)}}
                api.apply("/api/v1/namespaces/default/configmaps/c", note)
            want(2)
            for _ in range(3):  # each replica has heard of a renewal by then
                before = version(api)
                eventually(lambda before=before: version(api) > before)
            with control_plane.without_etcd() as data:
                shutil.rmtree(data)
                shutil.copytree(tmp_path / "backup", data)
            want(3)


def version(api: Api) -> int:
    """That of the lease."""
    lease = api.get(f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/tomoul-operator")
    return int(lease["metadata"]["resourceVersion"])


class Operators:
    """A leader and another one, started again when they end."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._started: list[OperatorProcess] = []
        self._running: list[OperatorProcess] = []

    def __enter__(self) -> "Operators":
        self._running = [self._start(), self._start()]
        return self

    def __exit__(self, *_: object) -> None:
        for operator in self._started:
            operator.stop(signal.SIGKILL)

    def have_made(self, replicas: int) -> bool:
        """Whether there is one Deployment, with these replicas."""
        self._running = [each if each.process.poll() is None else self._start() for each in self._running]
        items = self._control_plane.api.get(f"/apis/apps/v1/namespaces/{MODELS}/deployments")["items"]
        return [item["spec"]["replicas"] for item in items] == [replicas]

    def _start(self) -> OperatorProcess:
        log = self._control_plane.folder / f"operator-{len(self._started)}.log"
        self._started.append(OperatorProcess(self._control_plane.kubeconfig, log, "--resync-seconds=3"))
        return self._started[-1]
