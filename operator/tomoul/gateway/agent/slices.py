"""EndpointSlices → ready endpoints by pool."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tomoul.gateway.compile.resources import Endpoint, Endpoints, PoolKey

LABEL_SERVICE = "kubernetes.io/service-name"
PORT_NAME = "http"


class PoolSlice(NamedTuple):
    """What one EndpointSlice adds to a pool."""

    pool: PoolKey
    endpoints: tuple[Endpoint, ...]


def pool_slice(item: Mapping[str, Any]) -> PoolSlice:
    """The ready endpoints of one EndpointSlice; none if it belongs to no Service or holds host names.

    An endpoint is ready unless it says otherwise, as the API defines it. The port is the one named `http`, else the
    first.
    """
    metadata = item["metadata"]
    pool = PoolKey(metadata["namespace"], (metadata.get("labels") or {}).get(LABEL_SERVICE, ""))
    port = _port(item.get("ports") or ())
    if not pool.service or port is None or item.get("addressType") not in ("IPv4", "IPv6"):
        return PoolSlice(pool, ())
    return PoolSlice(
        pool,
        tuple(
            sorted(
                Endpoint(address, port)
                for endpoint in item.get("endpoints") or ()
                if _serves(endpoint.get("conditions") or {})
                # Further addresses of an endpoint have no meaning; the API says to use the first.
                for address in endpoint["addresses"][:1]
            )
        ),
    )


def endpoints_by_pool(slices: Iterable[PoolSlice]) -> Endpoints:
    """All slices together: each endpoint once, sorted; pools without endpoints are left out."""
    found: dict[PoolKey, set[Endpoint]] = {}
    for pool, endpoints in slices:
        if endpoints:
            found.setdefault(pool, set()).update(endpoints)
    return {pool: tuple(sorted(found[pool])) for pool in sorted(found)}


def _serves(conditions: Mapping[str, bool | None]) -> bool:
    return conditions.get("ready") is not False and not conditions.get("terminating")


def _port(ports: Iterable[Mapping[str, Any]]) -> int | None:
    numbered = [port for port in ports if port.get("port")]
    for port in numbered:
        if port.get("name") == PORT_NAME:
            return int(port["port"])
    return int(numbered[0]["port"]) if numbered else None
