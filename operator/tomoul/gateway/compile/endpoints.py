"""ClusterLoadAssignments: the ready engine pods of each pool."""

from collections.abc import Container, Iterable, Sequence

from tomoul.gateway.compile.names import HOST_METADATA, pool_cluster
from tomoul.gateway.compile.resources import Endpoint, Endpoints, EnvoyResource, PoolKey


def load_assignments(
    pools: Iterable[PoolKey], endpoints: Endpoints, canaries: Container[PoolKey] = ()
) -> dict[str, EnvoyResource]:
    """One assignment per pool, by cluster name; empty where nothing is ready, so that calls are refused at once."""
    return {pool_cluster(pool): _load_assignment(pool, endpoints.get(pool, ()), pool in canaries) for pool in pools}


def _load_assignment(pool: PoolKey, ready: Sequence[Endpoint], canary: bool) -> EnvoyResource:
    told = {"kind": "pool"} | ({"pool": "canary"} if canary else {})
    hosts = [
        {
            "endpoint": {"address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}},
            "metadata": {"filter_metadata": {HOST_METADATA: dict(told)}},
        }
        for endpoint in sorted(set(ready))
    ]
    return {"cluster_name": pool_cluster(pool), "endpoints": [{"lb_endpoints": hosts}] if hosts else []}
