"""ControlPlane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes, ready in seconds."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import yaml

from tests.controlplane.api import Api, ApiError, eventually
from tests.controlplane.front_proxy import front_proxy_flags
from tests.controlplane.kubelet import Kubelet, Status, running
from tests.controlplane.process import Process, free_port
from tests.controlplane.programs import program

REPOSITORY = Path(__file__).parent.parent.parent

# Without those that act on nodes: the tests' nodes are only objects, and nobody renews their leases.
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
)

CONTROLLER_PROGRAMS = ("kube-controller-manager", "kube-scheduler")


class KubectlError(Exception):
    """kubectl failed; the text is what it wrote to stderr."""


class ControlPlane:
    """A real control plane in `folder`; logs stay there as `<program>.log`."""

    def __init__(self, folder: Path, apiserver_flags: Sequence[str] = (), *, controllers: bool = True) -> None:
        """`apiserver_flags` take the place of those of the same name; without `controllers` nothing acts by itself."""
        self.folder = folder
        self._controllers = controllers
        self._apiserver_flags = apiserver_flags
        self.port = free_port()
        self.kubeconfig = folder / "admin.kubeconfig"
        self._etcd_port = free_port()
        self._token = secrets.token_hex(16)
        self._ca_file = folder / "certificates" / "apiserver.crt"
        self._processes: dict[str, Process] = {}
        self._front_proxy: Sequence[str] = ()

    def __enter__(self) -> "ControlPlane":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self._front_proxy = front_proxy_flags(self.folder / "front-proxy")
        (self.folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')
        self._start_etcd()
        self.start_apiserver()
        # Before the controller manager starts: its garbage collector looks for new kinds every 30 seconds only.
        self.install_crds()
        if self._controllers:
            self._start_controllers()

    def _start_etcd(self) -> None:
        etcd = f"http://127.0.0.1:{self._etcd_port}"
        self._run(
            "etcd", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}", f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
            "--unsafe-no-fsync", "--log-level=warn",
        )  # fmt: skip

    @contextmanager
    def without_etcd(self) -> Iterator[Path]:
        """etcd's data, which may be replaced within the `with` block; API server and etcd are away meanwhile."""
        self.stop_apiserver()
        self._processes.pop("etcd").stop()
        yield self.folder / "etcd"
        self._start_etcd()
        self.start_apiserver()

    def _start_controllers(self) -> None:
        config = f"--kubeconfig={self.kubeconfig}"
        self._run(
            "kube-controller-manager", config, "--leader-elect=false", "--secure-port=0",
            "--use-service-account-credentials=false", f"--root-ca-file={self._ca_file}",
            f"--controllers={','.join(CONTROLLERS)}", "--kube-api-qps=500", "--kube-api-burst=500",
            "--horizontal-pod-autoscaler-sync-period=1s",
        )  # fmt: skip
        self._run(
            "kube-scheduler", config, "--leader-elect=false", "--secure-port=0",
            "--kube-api-qps=500", "--kube-api-burst=500",
        )  # fmt: skip

    def _run(self, name: str, *args: str) -> None:
        self._processes[name] = Process([program(name), *args], self.folder / f"{name}.log")

    def pid(self, name: str) -> int:
        """The process of `kube-apiserver` or another program."""
        return self._processes[name].pid

    def stop(self) -> None:
        """Kill everything; the folder stays."""
        if self._ca_file.exists():
            self.api.close()
        while self._processes:
            _, process = self._processes.popitem()
            process.stop()

    def start_apiserver(self) -> None:
        """Start the API server, at the same address as before, and wait until it is ready.

        Controllers and scheduler start anew with it: those that have found none for a while look again much later.
        """
        certificates = self._ca_file.parent
        key = certificates / "apiserver.key"  # the API server writes it before it reads it as the signing key
        flags = (
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}",
            f"--cert-dir={certificates}", f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC", "--allow-privileged=true", "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}", f"--service-account-key-file={key}",
            # A node without a kubelet would keep this plug-in's not-ready taint for ever.
            "--disable-admission-plugins=TaintNodesByCondition", "--enable-admission-plugins=PodSecurity",
            "--profiling=false", "--shutdown-delay-duration=0s", *self._front_proxy,
        )  # fmt: skip
        given = {flag.partition("=")[0] for flag in self._apiserver_flags}
        kept = (flag for flag in flags if flag.partition("=")[0] not in given)
        self._run("kube-apiserver", *kept, *self._apiserver_flags)
        process = self._processes["kube-apiserver"]
        deadline = time.monotonic() + 60
        while not self._is_ready():
            process.check()
            self._processes["etcd"].check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the API server was not ready within 60 s; see {process.log}")
            time.sleep(0.05)
        if running := [self._processes.pop(name) for name in CONTROLLER_PROGRAMS if name in self._processes]:
            for each in running:
                each.stop()
            self._start_controllers()

    def _is_ready(self) -> bool:
        if not self._ca_file.exists():
            return False
        if not self.kubeconfig.exists():
            self._write_kubeconfig(self.kubeconfig, {"token": self._token})
            self.api = Api(self.port, self._token, self._ca_file)
        try:
            self.api.get("/readyz")
            self.api.get("/api/v1/namespaces/default")
        except (OSError, ApiError):
            return False
        return True

    def stop_apiserver(self) -> None:
        """Kill the API server; every connection to it resets."""
        self._processes.pop("kube-apiserver").stop()

    def _write_kubeconfig(self, path: Path, user: Mapping[str, object]) -> Path:
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self._ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": path.stem, "user": dict(user)}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": path.stem}}],
            "current-context": "tests",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig that impersonates a user. For kubectl and helm: Python's client knows no impersonation."""
        user: dict[str, object] = {"token": self._token, "as": name, "as-groups": list(groups)}
        return self._write_kubeconfig(self.folder / f"user-{name.replace(':', '-')}.kubeconfig", user)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a token (24 hours) of an existing ServiceAccount: what a pod with it may do."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
        token = self.api.create(path, body)["status"]["token"]
        return self._write_kubeconfig(self.folder / f"serviceaccount-{namespace}-{name}.kubeconfig", {"token": token})

    def kubectl(self, *args: str, input: str | None = None, kubeconfig: Path | None = None) -> str:  # noqa: A002
        """What kubectl printed. Raises KubectlError with its stderr."""
        command = [
            str(program("kubectl")), f"--kubeconfig={kubeconfig or self.kubeconfig}",
            f"--cache-dir={self.folder / 'kubectl-cache'}", *args,
        ]  # fmt: skip
        environment = {**os.environ, "KUBECTL_KUBERC": "false"}
        done = subprocess.run(command, input=input, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KubectlError(done.stderr)
        return done.stdout

    def install_crds(self, folder: Path = REPOSITORY / "crds") -> None:
        """Apply the CRDs in `folder` and wait until they are served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        crds = [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yaml"))]
        for crd in crds:
            self.api.apply(f"{path}/{crd['metadata']['name']}", crd)
        for crd in crds:
            spec = crd["spec"]
            versions = [version["name"] for version in spec["versions"] if version["served"]]
            for version in versions:
                collection = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
                eventually(lambda collection=collection: self.api.get(collection), message=f"{collection} is served")

    def add_node(self, name: str, labels: Mapping[str, str] = {}, capacity: Mapping[str, str] = {}) -> None:
        """Add a ready node, or update it; `capacity` (such as {"nvidia.com/gpu": "8"}) adds to 32 CPUs and 256Gi."""
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels},
            },
        }
        self.api.apply(f"/api/v1/nodes/{name}", node)
        resources = {"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110", **capacity}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": None}
        status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
        self.api.patch(f"/api/v1/nodes/{name}/status", {"status": status})

    def run_pods(self, namespace: str = "", selector: str = "", status: Status = running) -> Kubelet:
        """A kubelet for the `with` block: scheduled pods get `status`; deleted pods go. No namespace means all."""
        return Kubelet(self.api, namespace, selector, status)

    def add_namespace(self, name: str, labels: Mapping[str, str] = {}) -> None:
        """Add a namespace and wait until pods can be created in it."""
        meta = {"name": name, "labels": dict(labels)}
        self.api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        eventually(lambda: self.api.get(account), message="the namespace's ServiceAccount exists")

    def describe(self, namespace: str) -> str:
        """Pods and events of a namespace, for a failed test's message."""
        events = self.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        lines = [f"{e['involvedObject']['kind']}/{e['involvedObject']['name']}: {e['message']}" for e in events]
        pods = self.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return "\n".join([*lines, *(json.dumps({p["metadata"]["name"]: p["status"]}) for p in pods)])
