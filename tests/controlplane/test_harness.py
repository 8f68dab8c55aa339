import pytest

from tests.controlplane.api import ApiError, eventually
from tests.controlplane.harness import ControlPlane, KubectlError
from tests.controlplane.kubelet import waiting

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "engine", "labels": {"app": "engine"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "engine"}},
        "template": {
            "metadata": {"labels": {"app": "engine"}},
            "spec": {
                "containers": [
                    {"name": "engine", "image": "engine:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
                ],
            },
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "engine"},
    "spec": {"clusterIP": "None", "selector": {"app": "engine"}, "ports": [{"port": 8000}]},
}


def test_the_scheduler_counts_gpus_and_scheduled_pods_become_endpoints(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    control_plane.add_node(f"{namespace}-gpu", {"pool": namespace}, {"nvidia.com/gpu": "4"})
    deployment = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"]}}
    api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)
    api.create(f"/api/v1/namespaces/{namespace}/services", SERVICE)

    with control_plane.run_pods(namespace) as kubelet:

        def status() -> dict[str, int]:
            return dict(api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/engine")["status"])

        eventually(lambda: status().get("readyReplicas") == 2, message=control_plane.describe(namespace))
        pods = api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        (left_out,) = [pod for pod in pods if "nodeName" not in pod["spec"]]
        condition = next(c for c in left_out["status"]["conditions"] if c["type"] == "PodScheduled")
        assert "Insufficient nvidia.com/gpu" in condition["message"]
        assert {pod["spec"]["nodeName"] for pod in pods if pod != left_out} == {f"{namespace}-gpu"}

        def addresses() -> set[str]:
            slices = api.get(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
            endpoints = [e for s in slices for e in s["endpoints"] or () if e["conditions"]["ready"]]
            return {address for endpoint in endpoints for address in endpoint["addresses"]}

        eventually(lambda: len(addresses()) == 2)

        kubelet.set_status(waiting("ImagePullBackOff", "no such image"))
        api.delete(f"/apis/apps/v1/namespaces/{namespace}/deployments/engine")
        eventually(lambda: not api.get(f"/api/v1/namespaces/{namespace}/pods")["items"], message="pods are collected")
    api.delete(f"/api/v1/nodes/{namespace}-gpu")


def test_a_service_account_may_do_what_its_role_says_and_no_more(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    control_plane.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods", "-n", namespace)
    control_plane.kubectl(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader", "-n", namespace
    )
    reader = control_plane.service_account_kubeconfig(namespace, "reader")
    assert control_plane.kubectl("get", "pods", "-n", namespace, "-o", "name", kubeconfig=reader) == ""
    with pytest.raises(KubectlError, match=r"cannot list resource \"secrets\""):
        control_plane.kubectl("get", "secrets", "-n", namespace, kubeconfig=reader)
    person = control_plane.user_kubeconfig("ann", ["developers"])
    with pytest.raises(KubectlError, match='User "ann" cannot list'):
        control_plane.kubectl("get", "pods", "-n", namespace, kubeconfig=person)


def test_pod_security_refuses_a_privileged_pod_in_a_restricted_namespace(control_plane: ControlPlane) -> None:
    name = "restricted"
    control_plane.add_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    container = {"name": "root", "image": "root:1", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": {"containers": [container]}}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api.create(f"/api/v1/namespaces/{name}/pods", pod)
    control_plane.api.delete(f"/api/v1/namespaces/{name}")


def test_the_api_server_restarts_at_the_same_address_with_its_objects(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.stop_apiserver()
    try:
        with pytest.raises(OSError, match="refused"):
            control_plane.api.get("/readyz")
    finally:
        control_plane.start_apiserver()
    assert control_plane.api.get(f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Active"
