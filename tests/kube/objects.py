"""Objects as an API server would return them."""

from typing import Any


def service(name: str, version: int, uid: str = "", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid or name,
            "resourceVersion": str(version),
            **metadata,
        },
    }
