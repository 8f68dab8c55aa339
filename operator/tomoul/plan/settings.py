"""Settings: what the installation decides, not the resources."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tomoul import __version__
from tomoul.api.gatewaylimits import COMMENT_SECONDS, MAX_BODY_BYTES
from tomoul.api.routingtable import GatewayAuth
from tomoul.plan.engines.llamacpp import DEFAULT_IMAGE as LLAMA_CPP_IMAGE
from tomoul.plan.gateway_overlay import GatewayOverlay
from tomoul.plan.listening import ALL_IPV4


@dataclass(frozen=True)
class Settings:
    """Flags of the operator, which are values of the chart."""

    namespace: str = "tomoul-system"
    """Namespace of the operator and the gateways."""
    hosted_regions: frozenset[str] | None = None
    """Regions that this operator realises; None means all."""
    operator_image: str = f"tomoul/operator:{__version__}"
    """Image of the operator, the agent and the loader."""
    envoy_image: str = "envoyproxy/envoy:distroless-v1.40.0"
    llama_cpp_image: str = LLAMA_CPP_IMAGE
    """Image of LlamaCpp engines whose spec names none: whoever installs builds it, so it lies where they push it."""
    engine_registry: str = ""
    """Registry, or path in one, with the images of other engines whose spec names none; empty: Docker Hub."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: Sequence[str] = ()
    """Names of Secrets with registry credentials: for gateways in `namespace`, for engines in their own."""
    scrape_namespaces: Sequence[str] = ()
    """Namespaces whose pods may read the metrics of engines and gateways."""
    engine_egress: Literal["Restricted", "Open"] = "Restricted"
    """Restricted: engines begin no connection but to download their weights (DNS, port 443, the endpoint's)."""
    engine_priority_class: str = ""
    """PriorityClass of engines' pods; empty for the cluster's default."""
    gateway_replicas: int = 2
    gateway_service_type: str = "ClusterIP"
    gateway_service_account: str = "tomoul-gateway"
    """ServiceAccount of the gateway pods, which the chart creates with the rights that an agent needs."""
    gateway_overlay: GatewayOverlay = field(default_factory=GatewayOverlay)
    """What gateways have besides what their Regions say: labels, placement, resources, fields of their Services."""
    listen_address: str = ALL_IPV4
    """Where gateways and engines listen."""
    propagated_labels: Sequence[str] = ()
    """Names of a ModelDeployment's labels that its objects and engine pods carry too."""
    propagated_annotations: Sequence[str] = ()
    gateway_auth: GatewayAuth = GatewayAuth.REQUIRED
    """Whether calls need the API key of a Tenant."""
    gateway_max_body_bytes: int = MAX_BODY_BYTES
    """Largest body of a call."""
    gateway_comment_seconds: int = COMMENT_SECONDS
    """After how long an engine's silence the client of a stream gets a comment; 0 for never."""

    routes_per_table: int | None = 200
    """Most routes of a region that are in one RoutingTable; where there are more they are in shards. None: any."""

    def hosts(self, region: str) -> bool:
        """Whether this operator realises `region`."""
        return self.hosted_regions is None or region in self.hosted_regions
