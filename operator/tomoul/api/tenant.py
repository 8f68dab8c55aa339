"""Tenant: who may call which models in which regions."""

from typing import Annotated, Literal

from pydantic import Field

from tomoul.api.meta import API_VERSION, ApiModel, Conditions, ObjectMeta, StatusModel
from tomoul.api.names import ModelId, ObjectName, RegionName
from tomoul.api.rules import INT64, ListSet


class ApiKeys(ApiModel):
    """The Secret, in the same namespace, whose values are the tenant's API keys."""

    secret_name: ObjectName = Field(description="Secret name; each value of its data is one key")


class TenantSpec(ApiModel):
    """What a tenant may reach."""

    api_keys: ApiKeys = Field(description="Where its API keys are")
    regions: Annotated[tuple[RegionName, ...], ListSet()] = Field(
        default=(), max_length=64, description="Regions it may reach; none listed means all"
    )
    models: Annotated[tuple[ModelId, ...], ListSet()] = Field(
        default=(), max_length=256, description="Model ids it may call; none listed means all"
    )
    require_region: bool = Field(default=False, description="Refuse its calls that name no region")


class TenantStatus(StatusModel):
    """Whether the gateways enforce it."""

    observed_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="The metadata.generation that this was judged by"
    )
    conditions: Conditions = Field(default=(), description="Conditions by type")


class Tenant(ApiModel):
    """Who may call which models in which regions."""

    api_version: Literal["tomoul.ai/v1alpha1"] = API_VERSION
    kind: Literal["Tenant"] = "Tenant"
    metadata: ObjectMeta
    spec: TenantSpec
    status: TenantStatus = Field(default_factory=TenantStatus)
