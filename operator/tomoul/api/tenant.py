"""Tenant: who may call which models in which regions, and how much."""

from typing import Annotated, Literal

from pydantic import Field

from tomoul.api.meta import API_VERSION, ApiModel, Conditions, ObjectMeta, StatusModel
from tomoul.api.names import ModelId, ObjectName, RegionName
from tomoul.api.rules import INT64, ListBy, ListSet

MAX_MODELS = 256
MAX_REGIONS = 64


class ApiKeys(ApiModel):
    """The Secret, in the same namespace, whose values are the tenant's API keys."""

    secret_name: ObjectName = Field(
        description="Secret name; each value of its data is one key, of 32 to 512 characters"
    )


class Limits(ApiModel):
    """How much a tenant may ask of each region. What is left out is not limited."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Calls that begin in a minute, in the long run"
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=2_000_000_000,
        description="Prompt and completion tokens in a minute, in the long run; charged once a call is over",
    )
    concurrent_requests: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Calls that run at the same time"
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Completion tokens of one call, over all its choices"
    )


class TenantSpec(ApiModel):
    """What a tenant may reach, and how much of it."""

    api_keys: ApiKeys = Field(description="Where its API keys are")
    # A list that somebody empties must not become one of all.
    regions: Annotated[tuple[RegionName, ...], ListSet()] = Field(
        default=(), min_length=1, max_length=MAX_REGIONS, description="Regions it may reach; leave it out for all"
    )
    models: Annotated[tuple[ModelId, ...], ListSet()] = Field(
        default=(), min_length=1, max_length=MAX_MODELS, description="Model ids it may call; leave it out for all"
    )
    require_region: bool = Field(default=False, description="Refuse its calls that name no region")
    limits: Limits = Field(default_factory=Limits, description="How much it may ask of each region")


class TenantRegionStatus(StatusModel):
    """What one region's gateways have acknowledged of a tenant."""

    name: str = Field(max_length=32, description="Region name")
    enforced_entry: str = Field(
        default="", max_length=32, description="Hash of the entry that every live gateway has accepted"
    )


class TenantStatus(StatusModel):
    """Whether the gateways enforce it."""

    observed_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="The metadata.generation that this was judged by"
    )
    conditions: Conditions = Field(default=(), description="Conditions by type")
    regions: Annotated[tuple[TenantRegionStatus, ...], ListBy("name")] = Field(
        default=(), description="What the gateways of each region hosted here have acknowledged"
    )
    reason: str = Field(
        default="", max_length=63, description="Reason of Enforced; of Accepted where only that does not hold"
    )


class TenantMeta(ObjectMeta):
    """Metadata whose name is judged as the API server does it; the other kinds have rules of their own for it."""

    name: ObjectName


class Tenant(ApiModel):
    """Who may call which models in which regions, and how much."""

    api_version: Literal["tomoul.ai/v1alpha1"] = API_VERSION
    kind: Literal["Tenant"] = "Tenant"
    metadata: TenantMeta
    spec: TenantSpec
    status: TenantStatus = Field(default_factory=TenantStatus)
