"""What the operator may do so that gateways can read Secrets with keys, and how it is kept to that."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.agent.envoy import eventually
from tests.chart.helm import render
from tests.controlplane.harness import ControlPlane
from tomoul.api.tenant import Tenant
from tomoul.kube.errors import Forbidden, Invalid
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.resources import ROLE_BINDINGS, ROLES, SECRETS
from tomoul.plan.key_access import NAME, key_access
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key, World

Manifest = dict[str, Any]
SYSTEM, OPERATOR = "tomoul-keys", "tomoul-operator"
PARTS = (
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)


@pytest.fixture(scope="module", autouse=True)
def chart(control_plane: ControlPlane) -> Iterator[None]:
    """The chart's accounts, rights and policies, in a namespace of their own."""
    control_plane.add_namespace(SYSTEM)
    manifest = yaml.safe_dump_all(found for found in render(namespace=SYSTEM) if found["kind"] in PARTS)
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifest)
    yield
    control_plane.kubectl("delete", "--wait=false", "-f", "-", input=manifest)
    control_plane.api.delete(f"/api/v1/namespaces/{SYSTEM}")


def access(namespace: str) -> tuple[Manifest, Manifest]:
    """Role and RoleBinding of a namespace with one tenant, as the operator makes them."""
    metadata = {"name": "acme", "namespace": namespace}
    tenant = Tenant.model_validate({"metadata": metadata, "spec": {"apiKeys": {"secretName": "acme-keys"}}})
    world = World(settings=Settings(namespace=SYSTEM), tenants={Key(namespace, "acme"): tenant})
    role, binding = key_access(world, namespace)
    return copy.deepcopy(dict(role)), copy.deepcopy(dict(binding))


async def connect(control_plane: ControlPlane, account: str) -> HttpKubeClient:
    return await HttpKubeClient.connect(str(control_plane.service_account_kubeconfig(SYSTEM, account)))


async def test_the_operator_lets_gateways_read_the_secrets_of_tenants_and_no_others(
    control_plane: ControlPlane, namespace: str
) -> None:
    role, binding = access(namespace)
    async with await connect(control_plane, OPERATOR) as operator:
        await operator.apply(role, manager="tomoul-operator")
        await operator.apply(binding, manager="tomoul-operator")
        async with await connect(control_plane, "tomoul-gateway") as gateway:
            await gateway.list(SECRETS, only=Key(namespace, "acme-keys"))
            with pytest.raises(Forbidden):
                await gateway.list(SECRETS, only=Key(namespace, "other-keys"))
            with pytest.raises(Forbidden):
                await gateway.list(SECRETS, namespace=namespace)
        # Changing and removing it is the operator's as well.
        role["rules"][0]["resourceNames"] = ["acme-keys", "globex-keys"]
        await operator.apply(role, manager="tomoul-operator")
        for resource in (ROLE_BINDINGS, ROLES):
            uid = (await operator.get(resource, Key(namespace, NAME)))["metadata"]["uid"]
            await operator.delete(resource, Key(namespace, NAME), uid=uid)


def another_name(role: Manifest, binding: Manifest) -> Manifest:
    return {**role, "metadata": {**role["metadata"], "name": "mine"}}


def another_binding(role: Manifest, binding: Manifest) -> Manifest:
    return {**binding, "metadata": {**binding["metadata"], "name": "mine"}}


def every_secret(role: Manifest, binding: Manifest) -> Manifest:
    del role["rules"][0]["resourceNames"]
    return role


def pods_as_well(role: Manifest, binding: Manifest) -> Manifest:
    role["rules"].append({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})
    return role


def writing(role: Manifest, binding: Manifest) -> Manifest:
    role["rules"][0]["verbs"].append("update")
    return role


def itself(role: Manifest, binding: Manifest) -> Manifest:
    binding["subjects"] = [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": SYSTEM}]
    return binding


def everybody(role: Manifest, binding: Manifest) -> Manifest:
    binding["subjects"].append(
        {"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}
    )
    return binding


def a_cluster_role(role: Manifest, binding: Manifest) -> Manifest:
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    return binding


@pytest.mark.parametrize(
    "change",
    [another_name, another_binding, every_secret, pods_as_well, writing, itself, everybody, a_cluster_role],
)
async def test_the_operator_cannot_be_made_to_give_more_than_that(
    control_plane: ControlPlane, namespace: str, change: Any
) -> None:
    role, binding = access(namespace)
    async with await connect(control_plane, OPERATOR) as operator:
        if change in (pods_as_well, every_secret, writing, itself, everybody):

            async def policy_holds() -> bool:
                try:
                    await operator.apply(pods_as_well(*access(namespace)), manager="tomoul-operator")
                except (Forbidden, Invalid) as error:
                    return "and nothing else" in str(error)
                return False

            await eventually(policy_holds)  # a policy takes effect a moment after it was written
        with pytest.raises((Forbidden, Invalid)):
            await operator.apply(change(role, binding), manager="tomoul-operator")


async def test_the_operator_reads_no_secret_of_a_tenant_itself(control_plane: ControlPlane, namespace: str) -> None:
    async with await connect(control_plane, OPERATOR) as operator:
        with pytest.raises(Forbidden):
            await operator.list(SECRETS, only=Key(namespace, "acme-keys"))
