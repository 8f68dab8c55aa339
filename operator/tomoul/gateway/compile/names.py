"""Names that the compiler's parts and the filter (../filter/) agree on."""

from tomoul.gateway.compile.resources import PoolKey

TYPES = "type.googleapis.com/envoy"
"""Prefix of every `@type`."""

FILTER = "tomoul"
"""Name of the filter, of its module and of the resource that configures it."""

LISTENER = "gateway"
HEALTH_CHECK = "envoy.filters.http.health_check"

READY_PATH = "/-/ready"
"""Answers 200 once Envoy has its configuration, and 503 while it drains."""

ROUTE_CONFIGURATION = "gateway"

# Response header between Envoy's own errors and the filter: the error's code.
HEADER_CODE = "x-tomoul-code"

FILTER_STATE_HASH = "envoy.hashable_string"
"""What the filter leaves for pools that choose a host by it; the name of Envoy's own kind of object."""

HEADER_REGION = "x-tomoul-region"

HOST_METADATA = "tomoul"
"""Namespace of the metadata of upstream hosts: `kind` (`pool` or `region`), `pool` (only a canary's) and `region`."""


def pool_cluster(pool: PoolKey) -> str:
    """The cluster of a pool in this region."""
    return f"pool/{pool.namespace}/{pool.service}"


def region_cluster(region: str) -> str:
    """The cluster of another region's gateways."""
    return f"region/{region}"
