"""What of an object is the same in every run that ends well."""

import json
from typing import Any

from tests.controlplane.api import Object

State = dict[str, Any]
"""By kind and name."""


def made(item: Object) -> Object:
    """Of what the operator makes."""
    metadata, spec = item["metadata"], dict(item.get("spec", {}))
    for name in ("clusterIP", "clusterIPs"):
        spec.pop(name, None)
    references = metadata.get("ownerReferences", ())
    for owner in references:  # a Region's uid is the token by which its gateways are drained
        spec = json.loads(json.dumps(spec).replace(owner["uid"], "<owner>"))
    owners = [(owner["kind"], owner["name"]) for owner in references]
    return {"labels": metadata["labels"], "owners": owners, "spec": spec, "account": item.get("imagePullSecrets")}


def said(item: Object) -> Object:
    """Of what people write: that, and what its status says."""
    status = item.get("status", {})
    rows = {row["name"]: _conditions(row) for row in status.get("regions", ())}
    current = status.get("observedGeneration") == item["metadata"]["generation"]
    return {"spec": item["spec"], "conditions": _conditions(status), "rows": rows, "current": current}


def _conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in status.get("conditions", ())}
