"""Key access: what lets the gateways read the Secrets with the keys of a namespace's tenants, and no others."""

from tomoul.api.meta import COMPONENT_GATEWAY, LABEL_COMPONENT, LABEL_MANAGED_BY, LABEL_NAME, MANAGED_BY
from tomoul.plan.tenants import secret_names
from tomoul.plan.world import Manifest, World

NAME = "tomoul-gateway-keys"
"""Of the Role and the RoleBinding. The operator may write no others, so that it cannot be made to."""
_LABELS = {LABEL_NAME: "tomoul-gateway", LABEL_COMPONENT: COMPONENT_GATEWAY, LABEL_MANAGED_BY: MANAGED_BY}


def key_access(world: World, namespace: str) -> tuple[Manifest, ...]:
    """Role and RoleBinding in `namespace`; none where no tenant is."""
    names = secret_names(world, namespace)
    if not names:
        return ()
    labels = dict(world.settings.gateway_overlay.labels) | _LABELS
    meta = {"name": NAME, "namespace": namespace, "labels": labels}
    account = {
        "kind": "ServiceAccount",
        "name": world.settings.gateway_service_account,
        "namespace": world.settings.namespace,
    }
    rule = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": list(names),
        "verbs": ["get", "list", "watch"],
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    return (
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": [rule]},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": reference,
            "subjects": [account],
        },
    )
