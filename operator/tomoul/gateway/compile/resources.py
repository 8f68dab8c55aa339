"""The input and output types of the compiler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tomoul.api.gatewaylimits import COMMENT_SECONDS, MAX_BODY_BYTES, MAX_HELD_BYTES
from tomoul.plan.listening import ALL_IPV4

EnvoyResource = Mapping[str, Any]
"""An Envoy v3 resource in proto3 JSON with the proto field names (snake_case), ready for `json_format.ParseDict`."""


class PoolKey(NamedTuple):
    """The Service behind a pool."""

    namespace: str
    service: str


class Endpoint(NamedTuple):
    """One ready engine pod."""

    address: str
    port: int


@dataclass(frozen=True)
class GatewayOptions:
    """What a gateway is told at its start and what never changes while it runs."""

    region: str
    listen_address: str = ALL_IPV4
    listen_port: int = 8080
    own_port: bool = False
    """Whether no other Envoy may listen there too, each getting a part of the calls."""
    max_body_bytes: int = MAX_BODY_BYTES
    max_held_bytes: int = MAX_HELD_BYTES
    body_seconds: int = 300
    """How long a call's body may take to arrive, from the call's first byte on."""
    comment_seconds: int = COMMENT_SECONDS
    """After how long an engine's silence the client of a stream gets a comment; 0 for never."""
    salt_key: bytes = b""
    """Secret from which the keys of cache salts are derived, one per tenant: see salt.py."""


@dataclass(frozen=True)
class EnvoyResources:
    """One whole configuration, by type, each by resource name and sorted by it."""

    listeners: Mapping[str, EnvoyResource] = field(default_factory=dict)
    routes: Mapping[str, EnvoyResource] = field(default_factory=dict)
    extensions: Mapping[str, EnvoyResource] = field(default_factory=dict)
    """TypedExtensionConfigs: what filters are told while they run."""
    clusters: Mapping[str, EnvoyResource] = field(default_factory=dict)
    endpoints: Mapping[str, EnvoyResource] = field(default_factory=dict)
    """ClusterLoadAssignments by cluster name."""


Endpoints = Mapping[PoolKey, Sequence[Endpoint]]
"""Ready endpoints by pool; a pool without any is left out or empty."""
