"""RoutingTables and EndpointSlices for tests."""

from collections.abc import Sequence
from typing import Any

from tomoul.api.meta import LABEL_REGION
from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.compile.resources import Endpoint


def table_manifest(
    name: str = "eu-west",
    models: Sequence[str] = ("acme/phi",),
    *,
    region: str = "",
    namespace: str = "models",
    **metadata: Any,
) -> dict[str, Any]:
    """A table, of the region of that name, whose models each have a pool `<namespace>/<last part of the id>`."""
    region = region or name
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "RoutingTable",
        "metadata": {"name": name, "labels": {LABEL_REGION: region}, **metadata},
        "spec": {
            "region": region,
            "knownRegions": [region],
            "auth": "None",
            "models": [
                {
                    "id": model,
                    "regions": [region],
                    "cache": {"mode": "Shared", "noStore": "Refuse"},
                    "pools": [
                        {"name": "default", "namespace": namespace, "service": model.rpartition("/")[2], "port": 8000}
                    ],
                }
                for model in models
            ],
        },
    }


def routing_table(
    name: str = "eu-west",
    models: Sequence[str] = ("acme/phi",),
    *,
    region: str = "eu-west",
    generation: int = 1,
    uid: str = "u",
) -> RoutingTable:
    return RoutingTable.model_validate(table_manifest(name, models, region=region, generation=generation, uid=uid))


def slice_manifest(namespace: str, name: str, region: str, *engines: Endpoint) -> dict[str, Any]:
    """A slice of the Service `phi`, as the EndpointSlice controller writes it, of engines that share a port."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": "phi", LABEL_REGION: region},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": engine.port, "protocol": "TCP"} for engine in engines[:1]],
        "endpoints": [{"addresses": [engine.address], "conditions": {"ready": True}} for engine in engines],
    }
