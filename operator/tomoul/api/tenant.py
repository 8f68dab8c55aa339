"""Tenant: who may call which models in which regions."""

from typing import Literal

from pydantic import Field

from tomoul.api.meta import API_VERSION, ApiModel, Condition, ObjectMeta, StatusModel


class ApiKeys(ApiModel):
    """The Secret, in the same namespace, whose values are the tenant's API keys."""

    secret_name: str = Field(min_length=1, max_length=253, description="Secret name; each value of its data is one key")


class TenantSpec(ApiModel):
    """What a tenant may reach."""

    api_keys: ApiKeys = Field(description="Where its API keys are")
    regions: tuple[str, ...] = Field(
        default=(), max_length=64, description="Regions it may reach; none listed means all"
    )
    models: tuple[str, ...] = Field(
        default=(), max_length=256, description="Model ids it may call; none listed means all"
    )
    require_region: bool = Field(default=False, description="Refuse its calls that name no region")


class TenantStatus(StatusModel):
    """Whether the gateways enforce it."""

    observed_generation: int = Field(default=0, ge=0, description="The metadata.generation that this was judged by")
    conditions: tuple[Condition, ...] = Field(default=(), description="Conditions by type")


class Tenant(ApiModel):
    """Who may call which models in which regions."""

    api_version: Literal["tomoul.ai/v1alpha1"] = API_VERSION
    kind: Literal["Tenant"] = "Tenant"
    metadata: ObjectMeta
    spec: TenantSpec
    status: TenantStatus = Field(default_factory=TenantStatus)
