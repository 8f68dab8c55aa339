"""RoutingTable: what the gateways of one region serve; written by the operator, acknowledged by the gateways."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.meta import API_VERSION, ApiModel, ObjectMeta, StatusModel
from tomoul.api.routing import Timeouts
from tomoul.api.rules import INT64, ListBy
from tomoul.api.tenant import MAX_MODELS, MAX_REGIONS, Limits

PoolName = Literal["default", "no-store", "canary"]
SeedSupport = Literal["deterministic", "best_effort", "ignored"]
MAX_REMOVED = 64
"""Fields: those of two engines, while a model's pods go from one to the other."""
MAX_FORMER_SALTS = 4
MAX_ALIASES = 16
MAX_TENANTS = 4096
MAX_TENANT_PROBLEMS = 256
MAX_POOLS_WITHOUT_ENDPOINTS = 1024
Bounded = Annotated[str, Field(max_length=128)]


class GatewayAuth(StrEnum):
    """Whether calls need the API key of a Tenant; with None every caller is one anonymous tenant without limits."""

    REQUIRED = "Required"
    NONE = "None"


class RouteCapabilities(ApiModel):
    """What `/v1/models` advertises and what calls may ask for."""

    tools: bool = Field(default=False, description="Whether `tools` may be used")
    structured_output: bool = Field(default=False, description="Whether `response_format: json_schema` may be used")
    json_mode: bool = Field(default=False, description="Whether `response_format: json_object` may be used")
    seed: SeedSupport = Field(default="best_effort", description="What `seed` promises")


class RouteCache(ApiModel):
    """How the gateway keeps the model's cache policy."""

    mode: CacheMode = Field(description="Who shares the prompt cache")
    no_store: NoStore = Field(
        description="What `X-Tomoul-Cache: no-store` gets; Refuse where the engine cannot keep more"
    )
    salt_field: str | None = Field(
        default=None, max_length=63, description="Body field that carries the cache salt, where the engine has one"
    )
    former_salt_fields: tuple[Annotated[str, Field(max_length=63)], ...] | None = Field(
        default=None,
        max_length=MAX_FORMER_SALTS,
        description="Fields that carry it too, for pods of other revisions, as long as any answers",
    )


class SetField(ApiModel):
    """A field that the gateway writes into a body, in the place of the client's."""

    name: str = Field(max_length=63, description="Top-level field")
    value: str = Field(max_length=1024, description="Its value, as JSON")


class RoutePool(ApiModel):
    """Engine pods behind one headless Service."""

    name: PoolName = Field(description="Which calls it takes")
    namespace: str = Field(max_length=63, description="Namespace of its Service")
    service: str = Field(
        max_length=63, description="Name of its headless Service, by which its EndpointSlices are found"
    )
    port: int = Field(ge=1, le=65535, description="Port of the engine's HTTP server")
    weight: int | None = Field(
        default=None, ge=1, le=50, description="Share of the calls to `default` that a `canary` takes, in percent"
    )
    fingerprint: str | None = Field(
        default=None, max_length=63, description="`system_fingerprint` of its answers; changes with what runs in it"
    )

    @property
    def namespaced_service(self) -> str:
        """What it is called in `GatewayAcknowledgement.pools_without_endpoints`."""
        return f"{self.namespace}/{self.service}"


class ModelRoute(ApiModel):
    """One model as a region's gateways see it, whether it runs in this region or only in others."""

    id: str = Field(max_length=128, description="Model id")
    aliases: tuple[Bounded, ...] = Field(default=(), max_length=MAX_ALIASES, description="Other ids for it")
    owned_by: str = Field(default="", max_length=128, description="`owned_by` in `/v1/models`")
    created: Annotated[int, INT64] = Field(
        default=0, ge=0, description="Creation time in `/v1/models`, in Unix seconds"
    )
    capabilities: RouteCapabilities = Field(default_factory=RouteCapabilities, description="What calls may ask for")
    regions: tuple[Bounded, ...] = Field(max_length=16, description="All regions that serve it, sorted")
    fallback: tuple[Bounded, ...] = Field(
        default=(), max_length=16, description="Other regions, in order, for calls that name none"
    )
    require_region: bool = Field(default=False, description="Refuse calls that name no region")
    cache: RouteCache = Field(description="Cache policy in this region")
    affinity: Literal["Prefix"] | None = Field(
        default=None, description="What keeps calls with the same beginning at one replica, where something does"
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="How long the gateway waits")
    remove_fields: tuple[Bounded, ...] = Field(
        default=(), max_length=MAX_REMOVED, description="Top-level body fields that a client must not control"
    )
    set_fields: tuple[SetField, ...] = Field(
        default=(), max_length=4, description="Top-level body fields by which the engine knows which adapter is meant"
    )
    adapter_of: str | None = Field(
        default=None, max_length=128, description="Id of the model whose adapter this is, if it is one"
    )
    usage_option: str | None = Field(
        default=None,
        max_length=63,
        description="Member of `stream_options` that makes the engine tell its tokens in every chunk, where it has one",
    )
    counts_one_choice: bool = Field(
        default=False,
        description="Whether the engine tells the tokens of one choice only, where an answer in one piece has several",
    )
    reuse_connections: bool = Field(
        default=True, description="Whether a connection to the engine may carry more than one call"
    )
    seeds: Annotated[int, INT64] | None = Field(
        default=None, ge=1, description="How many seeds the engine knows, from 0; without it all of 63 bits"
    )
    random_seed: bool = Field(
        default=False, description="Whether a call without a seed gets a random one, since the engine has one for all"
    )
    pools: tuple[RoutePool, ...] = Field(
        default=(), max_length=3, description="Pools in this region; none where the model runs only in others"
    )

    @property
    def base_id(self) -> str:
        """Id of the model that it is served with: its own, unless it is an adapter's."""
        return self.adapter_of or self.id


class RemoteGateway(ApiModel):
    """How to reach another region's gateways."""

    region: str = Field(max_length=32, description="Region name")
    url: str = Field(max_length=512, description="Scheme, host and port")
    ca_bundle: str | None = Field(default=None, max_length=16384, description="PEM certificates to trust")


class TenantEntry(ApiModel):
    """One tenant as the gateways see it. Its keys are in a Secret that each gateway reads itself."""

    namespace: str = Field(max_length=63, description="Namespace of the Tenant and of its Secret")
    name: str = Field(max_length=253, description="Name of the Tenant")
    secret_name: str = Field(max_length=253, description="Name of the Secret with its API keys")
    regions: tuple[Bounded, ...] = Field(
        default=(), max_length=MAX_REGIONS, description="Regions it may reach; none listed means all"
    )
    models: tuple[Bounded, ...] = Field(
        default=(), max_length=MAX_MODELS, description="Model ids it may call; none listed means all"
    )
    require_region: bool = Field(default=False, description="Refuse its calls that name no region")
    limits: Limits = Field(default_factory=Limits, description="How much it may ask of the region")


class GatewayService(ApiModel):
    """The Service of the region's own gateways, by whose EndpointSlices each knows how many there are."""

    namespace: str = Field(max_length=63, description="Namespace of the Service")
    name: str = Field(max_length=63, description="Name of the Service")


class RoutingTableSpec(ApiModel):
    """What the gateways of one region serve."""

    region: str = Field(max_length=32, description="Region whose gateways serve this table")
    draining: bool = Field(default=False, description="Whether only calls pinned to the region are served in it")
    models: tuple[ModelRoute, ...] = Field(default=(), max_length=4096, description="Models, by id")
    known_regions: tuple[Bounded, ...] = Field(
        default=(), max_length=64, description="All regions that exist; any other code is unknown"
    )
    remote_gateways: tuple[RemoteGateway, ...] = Field(default=(), max_length=64, description="Other regions' gateways")
    # What does not say that calls are open must not leave them so.
    auth: GatewayAuth = Field(default=GatewayAuth.REQUIRED, description="Whether calls need an API key")
    gateway_service: GatewayService | None = Field(
        default=None, description="Service of the region's gateways, which share the tenants' limits"
    )
    tenants: tuple[TenantEntry, ...] = Field(
        default=(),
        max_length=MAX_TENANTS,
        description="Tenants, the oldest first: of two with one key it is the first's",
    )


class TenantProblem(StatusModel):
    """Why a gateway does not take all keys of a tenant. No key is in it."""

    namespace: str = Field(max_length=63, description="Namespace of the Tenant")
    name: str = Field(max_length=253, description="Name of the Tenant")
    reason: str = Field(max_length=63, description="Reason of the Tenant's condition Enforced")
    message: str = Field(default="", max_length=512, description="What is wrong, for a person")


class GatewayAcknowledgement(StatusModel):
    """What one gateway's Envoy made of this table."""

    name: str = Field(max_length=253, description="Gateway pod name")
    accepted_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="Newest generation that its Envoy accepted"
    )
    rejected_generation: Annotated[int, INT64] = Field(
        default=0, ge=0, description="Newest generation that its Envoy rejected, or 0"
    )
    message: str = Field(default="", max_length=2048, description="Why it was rejected, in Envoy's words")
    last_update_time: datetime | None = Field(default=None, description="When the gateway last reported a change")
    tenant_problems: tuple[TenantProblem, ...] = Field(
        default=(),
        max_length=MAX_TENANT_PROBLEMS,
        description="Tenants some of whose keys it does not take, the first in the table's order",
    )
    pools_without_endpoints: Annotated[
        tuple[Annotated[str, Field(max_length=127)], ...], Field(max_length=MAX_POOLS_WITHOUT_ENDPOINTS)
    ] = Field(default=(), description="Pools of which its Envoy has no endpoint, as `namespace/service`, by name")


class RoutingTableStatus(StatusModel):
    """What the gateways acknowledged; each writes its own entry."""

    gateways: Annotated[tuple[GatewayAcknowledgement, ...], ListBy("name")] = Field(
        default=(), description="Acknowledgements by gateway"
    )


class RoutingTable(ApiModel):
    """What the gateways of one region serve. Written by the operator: do not edit."""

    api_version: Literal["tomoul.ai/v1alpha1"] = API_VERSION
    kind: Literal["RoutingTable"] = "RoutingTable"
    metadata: ObjectMeta
    spec: RoutingTableSpec
    status: RoutingTableStatus = Field(default_factory=RoutingTableStatus)
