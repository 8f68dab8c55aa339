"""Gateway overlay: what an installation adds to the gateways of all its regions.

Where a region's pods run is said by its Region, which is the same in every cluster. What differs from cluster to
cluster is here: how a cloud's load balancers are told, which priorities there are, what admission policies ask for.
Affinity and spread are Kubernetes' own structures, which the API server judges: what it says is in the Region's status.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from tomoul.api.meta import ApiModel
from tomoul.api.names import ANNOTATION_KEYS, LABEL_KEYS, LabelValue
from tomoul.api.region import NodeSelector, Toleration
from tomoul.plan.quantity import whole

Structure = Mapping[str, Any]
Labels = Annotated[Mapping[str, LabelValue], LABEL_KEYS]
Annotations = Annotated[Mapping[str, str], ANNOTATION_KEYS]

# No constraint, for which the scheduler passes over nodes that lack the label of any.
_ZONES: Mapping[str, Structure] = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone"}}
        ]
    }
}
_NODES: Structure = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
_LEAST_ENVOY_MEMORY = 256 * 1024 * 1024


class ContainerResources(ApiModel):
    """Requests and limits of a container, as Kubernetes has them."""

    requests: Mapping[str, str | int | float] = Field(default_factory=dict)
    limits: Mapping[str, str | int | float] = Field(default_factory=dict)


class GatewayResources(ApiModel):
    """Requests and limits of the containers of a gateway pod."""

    envoy: ContainerResources = ContainerResources(
        requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "1536Mi"}
    )
    agent: ContainerResources = ContainerResources(
        requests={"cpu": "20m", "memory": "96Mi"}, limits={"memory": "512Mi"}
    )

    @field_validator("envoy")
    @classmethod
    def _envoy_knows_its_memory(cls, envoy: ContainerResources) -> ContainerResources:
        memory = envoy.limits.get("memory", 0)
        if whole(str(memory)) < _LEAST_ENVOY_MEMORY:
            raise ValueError("limits.memory must be 256Mi or more: Envoy refuses calls before it has used that up")
        return envoy

    @property
    def max_heap_bytes(self) -> int:
        """How much Envoy may allocate: two thirds of its memory, since a heap is not all that a process has."""
        return whole(str(self.envoy.limits["memory"])) * 2 // 3

    @property
    def max_held_bytes(self) -> int:
        """How much of that answers of engines may take while they arrive: a quarter, since of each that has come whole
        there are two or three copies for a moment.
        """
        return self.max_heap_bytes // 4


class GatewayPods(ApiModel):
    """What gateway pods have besides what their Region gives them. Terms and constraints that select no pods mean
    the gateways of the same region.
    """

    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    node_selector: NodeSelector = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    affinity: Mapping[str, Structure] = Field(default_factory=lambda: deepcopy(_ZONES))
    topology_spread_constraints: tuple[Structure, ...] = (_NODES,)
    priority_class_name: str = ""


class GatewayService(ApiModel):
    """What the gateways' Services have besides their type."""

    annotations: Annotations = Field(default_factory=dict)
    load_balancer_class: str = ""
    load_balancer_source_ranges: tuple[str, ...] = ()
    external_traffic_policy: Literal["", "Cluster", "Local"] = ""
    ip_family_policy: Literal["", "SingleStack", "PreferDualStack", "RequireDualStack"] = ""

    @property
    def both_families(self) -> bool:
        """Whether clients may come by IPv4 and by IPv6."""
        return self.ip_family_policy in ("PreferDualStack", "RequireDualStack")

    def spec(self) -> dict[str, Any]:
        """Fields of the Service's `spec`."""
        fields = self.model_dump(mode="json", by_alias=True, exclude={"annotations"})
        return {name: value for name, value in fields.items() if value}


class GatewayOverlay(ApiModel):
    """What all gateways of an installation have besides what their Regions say."""

    labels: Labels = Field(default_factory=dict)
    """Of all objects, pods included."""
    pods: GatewayPods = GatewayPods()
    service: GatewayService = GatewayService()
    resources: GatewayResources = GatewayResources()


def read_overlay(text: str) -> GatewayOverlay:
    """The overlay that a JSON text holds. ValueError with every field that is wrong, and what is wrong with it."""
    try:
        return GatewayOverlay.model_validate_json(text, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [(".".join(str(part) for part in each["loc"]), _told(each)) for each in error.errors()]
        raise ValueError("; ".join(f"{field}: {message}" if field else message for field, message in found)) from error


def _told(error: ErrorDetails) -> str:
    return "is unknown" if error["type"] == "extra_forbidden" else error["msg"]
