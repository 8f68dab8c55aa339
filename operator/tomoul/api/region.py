"""Region: a place where models run, whose name is the code that `X-Tomoul-Region` carries."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tomoul.api.addresses import CaBundle, GatewayUrl
from tomoul.api.meta import API_VERSION, ApiModel, Conditions, ObjectMeta, StatusModel
from tomoul.api.names import (
    LABEL_KEYS,
    REGION_NAME_FORM,
    REGION_NAME_PATTERN,
    AcceleratorName,
    ExtendedResource,
    Jurisdiction,
    LabelKey,
    LabelValue,
    ObjectName,
    is_region_name,
)
from tomoul.api.rules import INT64, ListBy, rule

NodeSelector = Annotated[Mapping[str, LabelValue], Field(max_length=16), LABEL_KEYS]


class RegionState(StrEnum):
    """Active serves all calls. Draining serves calls pinned to it and no others. Disabled runs nothing."""

    ACTIVE = "Active"
    DRAINING = "Draining"
    DISABLED = "Disabled"


class Toleration(ApiModel):
    """A taint that pods of this region tolerate, as in a pod's `tolerations`."""

    key: LabelKey | None = Field(default=None, description="Taint key; without it every key matches")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How the key relates to the value")
    value: LabelValue | None = Field(default=None, description="Taint value that `Equal` compares with")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; without it every effect matches"
    )
    toleration_seconds: Annotated[int, INT64] | None = Field(
        default=None, ge=0, description="How long `NoExecute` is tolerated"
    )

    @rule(
        "!has(self.operator) || self.operator != 'Exists' || !has(self.value)",
        field="value",
        message="must be left out where `operator` is Exists, which matches every value",
    )
    def _exists_has_no_value(self) -> bool:
        return self.operator != "Exists" or self.value is None

    @rule(
        "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
        field="key",
        message="must be set where `operator` is Equal; a toleration of every taint has `operator: Exists` and no key",
    )
    def _equal_has_a_key(self) -> bool:
        return self.operator == "Exists" or self.key is not None

    @rule(
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        field="tolerationSeconds",
        message="must be left out unless `effect` is NoExecute, the only effect that it delays",
    )
    def _only_no_execute_is_delayed(self) -> bool:
        return self.toleration_seconds is None or self.effect == "NoExecute"


class Accelerator(ApiModel):
    """A kind of GPU that this region has, under the name that models ask for it by."""

    name: AcceleratorName = Field(description="Name that `resources.accelerator` of a ModelDeployment refers to")
    resource: ExtendedResource = Field(default="nvidia.com/gpu", description="Extended resource that pods request")
    node_selector: NodeSelector = Field(
        default_factory=dict, description="Labels of the nodes that have it, besides the region's own"
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="Taints that pods which request it tolerate, besides the region's own"
    )
    runtime_class_name: ObjectName | None = Field(
        default=None,
        description="RuntimeClass of pods which request it, such as `nvidia`, where GPUs are not the default runtime's",
    )
    product: LabelValue | None = Field(
        default=None,
        min_length=1,
        description="Product name as nodes are labelled with it, such as `NVIDIA-H100-80GB-HBM3`",
    )


class Placement(ApiModel):
    """Where the pods of this region run."""

    node_selector: NodeSelector = Field(default_factory=dict, description="Labels of this region's nodes")
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16, description="Taints that pods tolerate")
    accelerators: Annotated[tuple[Accelerator, ...], ListBy("name")] = Field(
        default=(), max_length=32, description="Kinds of GPU, by unique name"
    )

    @rule(
        "!has(self.nodeSelector) || !has(self.accelerators) || self.accelerators.all(accelerator, "
        "!has(accelerator.nodeSelector) || accelerator.nodeSelector.all(key, !(key in self.nodeSelector)))",
        field="accelerators",
        message="must not repeat a label of `placement.nodeSelector` in an accelerator's `nodeSelector`: "
        "the region's own holds for all of its pods",
    )
    def _no_accelerator_leaves_the_region(self) -> bool:
        return not any(self.node_selector.keys() & each.node_selector.keys() for each in self.accelerators)


class RegionEndpoint(ApiModel):
    """How gateways of other regions reach the gateways of this one, where they are not in the same cluster."""

    url: GatewayUrl = Field(
        description="Address such as `https://eu-west.api.example.com`; a path is not allowed. API keys travel over "
        "it: `http://` only within a trusted network"
    )
    ca_bundle: CaBundle | None = Field(
        default=None, description="PEM certificates to trust in the place of the system's"
    )


class RegionSpec(ApiModel):
    """What a region is."""

    display_name: str = Field(default="", max_length=128, description="Name for people")
    jurisdiction: Jurisdiction = Field(
        default="", description="Legal area, such as `EU`; a namespace's label `tomoul.ai/jurisdictions` may ask for it"
    )
    state: RegionState = Field(default=RegionState.ACTIVE, description="Whether the region takes calls")
    placement: Placement = Field(default_factory=Placement, description="Where its pods run")
    endpoint: RegionEndpoint | None = Field(default=None, description="Address of its gateways for other clusters")


class AcceleratorCapacity(StatusModel):
    """GPUs of one kind on the region's nodes, counted in devices."""

    name: str = Field(max_length=63, description="Accelerator name")
    allocatable: int = Field(default=0, description="Devices on ready nodes")
    requested: int = Field(default=0, description="Devices that pods of Tomoul on these nodes request")
    free: int = Field(default=0, description="Devices on these nodes that no pod of Tomoul requests")
    most_free: int = Field(default=0, description="The most of those that are on one node")


class GatewayStatus(StatusModel):
    """What one gateway pod of the region serves."""

    name: str = Field(max_length=253, description="Pod name")
    ready: bool = Field(default=False, description="Whether the pod is ready")
    accepted_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="RoutingTable generation that its Envoy accepted"
    )


class RegionStatus(StatusModel):
    """What the operator that hosts the region sees."""

    observed_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="The metadata.generation that this was judged by"
    )
    conditions: Conditions = Field(default=(), description="Conditions by type")
    accelerators: Annotated[tuple[AcceleratorCapacity, ...], ListBy("name")] = Field(
        default=(), description="Capacity by accelerator"
    )
    models_desired: int = Field(default=0, description="ModelDeployments that name the region")
    models_ready: int = Field(default=0, description="Those of them that are Ready here")
    models: str = Field(default="", max_length=32, description="Ready and desired models, such as `2/3`")
    gateways: Annotated[tuple[GatewayStatus, ...], ListBy("name")] = Field(
        default=(), description="The region's gateway pods"
    )
    routing_generation: Annotated[int, INT64] = Field(
        default=0, description="Sum of the generations of the region's RoutingTables"
    )


class Region(ApiModel):
    """A place where models run. Its name is the code that `X-Tomoul-Region` carries."""

    api_version: Literal["tomoul.ai/v1alpha1"] = API_VERSION
    kind: Literal["Region"] = "Region"
    metadata: ObjectMeta
    spec: RegionSpec
    status: RegionStatus = Field(default_factory=RegionStatus)

    @rule(
        f"size(self.metadata.name) <= 32 && self.metadata.name.matches(r'^{REGION_NAME_PATTERN}$')",
        field="metadata.name",
        message=REGION_NAME_FORM,
    )
    def _name_fits_a_header(self) -> bool:
        return is_region_name(self.metadata.name)
