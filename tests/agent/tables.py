"""RoutingTables for tests."""

from typing import Any

from tomoul.api.meta import LABEL_REGION
from tomoul.api.routingtable import RoutingTable


def table_manifest(name: str = "eu-west", models: tuple[str, ...] = ("acme/phi",), **metadata: Any) -> dict[str, Any]:
    """A table of region `eu-west` whose models each have a pool `models/<last part of the id>`."""
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "RoutingTable",
        "metadata": {"name": name, "labels": {LABEL_REGION: "eu-west"}, **metadata},
        "spec": {
            "region": "eu-west",
            "knownRegions": ["eu-west"],
            "models": [
                {
                    "id": model,
                    "regions": ["eu-west"],
                    "cache": {"mode": "Shared", "noStore": "Refuse"},
                    "pools": [
                        {"name": "default", "namespace": "models", "service": model.rpartition("/")[2], "port": 8000}
                    ],
                }
                for model in models
            ],
        },
    }


def routing_table(
    name: str = "eu-west", models: tuple[str, ...] = ("acme/phi",), generation: int = 1, uid: str = "u"
) -> RoutingTable:
    return RoutingTable.model_validate(table_manifest(name, models, generation=generation, uid=uid))
