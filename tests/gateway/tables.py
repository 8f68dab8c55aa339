"""RoutingTables for tests, from the few words that a test cares about."""

from collections.abc import Sequence
from typing import Any

from tomoul.api.routingtable import RoutingTable

NAMESPACE = "models"


def model(model_id: str, **fields: Any) -> dict[str, Any]:
    """A ModelRoute with one pool here, which `fields` (camelCase) change."""
    service = model_id.replace("/", "-").lower()
    return {
        "id": model_id,
        "regions": ["eu-west"],
        "cache": {"mode": "Tenant", "noStore": "Refuse"},
        "pools": [{"name": "default", "namespace": NAMESPACE, "service": service, "port": 8000}],
        **fields,
    }


def table(models: Sequence[dict[str, Any]], region: str = "eu-west", **fields: Any) -> RoutingTable:
    """A RoutingTable of `region`."""
    known = ["ap-south", "eu-west", "us-east"]
    return RoutingTable.model_validate(
        {
            "metadata": {"name": region, "generation": 1},
            "spec": {"region": region, "models": list(models), "knownRegions": known, "auth": "None", **fields},
        }
    )
