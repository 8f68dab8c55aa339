"""Names that the compiler's parts and the filter (../filter/) agree on."""

from tomoul.gateway.compile.resources import PoolKey

TYPES = "type.googleapis.com/envoy"
"""Prefix of every `@type`."""

FILTER = "tomoul"
"""Name of the filter, of its module and of the resource that configures it."""

LISTENER = "gateway"
ROUTE_CONFIGURATION = "gateway"

# Headers between the filter and the routes. The filter removes those of a client, before anything follows them.
HEADER_CLUSTER = "x-tomoul-cluster"
HEADER_ROUTE = "x-tomoul-route"
# Response header between Envoy's own errors and the filter: the error's code.
HEADER_CODE = "x-tomoul-code"

FILTER_STATE_HASH = "envoy.hashable_string"
"""What the filter leaves for pools that choose a host by it; the name of Envoy's own kind of object."""

# Request header between gateways: code of the region that forwarded the call. It grants nothing to who sends it.
HEADER_FORWARDED = "x-tomoul-forwarded"

HEADER_REGION = "x-tomoul-region"

HOST_METADATA = "tomoul"
"""Namespace of the metadata of upstream hosts: `kind` (`pool` or `region`), `pool` (only a canary's), `region` (the pin
to stamp) and `sender`.
"""


def timeouts_route(request_seconds: int, idle_seconds: int) -> str:
    """Key of the route for models with these timeouts."""
    return f"{request_seconds}s/{idle_seconds}s"


def pool_cluster(pool: PoolKey) -> str:
    """The cluster of a pool in this region."""
    return f"pool/{pool.namespace}/{pool.service}"


def region_cluster(region: str) -> str:
    """The cluster of another region's gateways."""
    return f"region/{region}"


def fallback_cluster(model_id: str) -> str:
    """The aggregate for calls of a model that name no region."""
    return f"fallback/{model_id}"


def canary_cluster(model_id: str, *, pinned: bool) -> str:
    """The aggregate for calls that a canary takes, with whatever is to answer them where it does not."""
    return f"canary/{model_id}" if pinned else f"canary-fallback/{model_id}"


def no_store_fallback_cluster(model_id: str) -> str:
    """The same for `X-Tomoul-Cache: no-store` where that has a pool of its own."""
    return f"fallback-no-store/{model_id}"


def stat_name(cluster: str) -> str:
    """The name of a cluster in Envoy's statistics, where a dot would end it: model ids may have some."""
    return cluster.replace(".", "_")
