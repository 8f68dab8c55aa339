"""The kinds that the operator and the agent read or write, and where the API server has them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tomoul.api.meta import GROUP, VERSION
from tomoul.plan.world import Key


@dataclass(frozen=True)
class Resource:
    """One kind of the API: `deployments` of group `apps`, version `v1`."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, key: Key | None = None, *, namespace: str = "", subresource: str = "") -> str:
        """URL path of the object `key`, or of the collection, in `namespace` or in all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        namespace = key.namespace if key is not None else namespace
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if key is not None:
            parts.append(quote(key.name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


REGIONS = Resource(GROUP, VERSION, "regions", "Region", namespaced=False)
MODEL_DEPLOYMENTS = Resource(GROUP, VERSION, "modeldeployments", "ModelDeployment")
TENANTS = Resource(GROUP, VERSION, "tenants", "Tenant")
ROUTING_TABLES = Resource(GROUP, VERSION, "routingtables", "RoutingTable", namespaced=False)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
LEADER_WORKER_SETS = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
PODS = Resource("", "v1", "pods", "Pod")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SECRETS = Resource("", "v1", "secrets", "Secret")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

RESOURCES = (
    REGIONS,
    MODEL_DEPLOYMENTS,
    TENANTS,
    ROUTING_TABLES,
    DEPLOYMENTS,
    SERVICES,
    SERVICE_ACCOUNTS,
    POD_DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    HORIZONTAL_POD_AUTOSCALERS,
    LEADER_WORKER_SETS,
    SCALED_OBJECTS,
    API_SERVICES,
    CONFIG_MAPS,
    ROLES,
    ROLE_BINDINGS,
    PODS,
    NODES,
    NAMESPACES,
    SECRETS,
    ENDPOINT_SLICES,
    EVENTS,
    LEASES,
)
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """The Resource of an object by its `apiVersion` and `kind`; KeyError for kinds that Tomoul does not use."""
    return _BY_KIND[manifest["apiVersion"], manifest["kind"]]


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Namespace (empty where there is none) and name of an object."""
    metadata = manifest["metadata"]
    # Several kinds have objects of one name, and each Store keeps its keys.
    return Key(sys.intern(metadata.get("namespace", "")), sys.intern(metadata["name"]))
