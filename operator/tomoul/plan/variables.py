"""Variables: environment variables of containers."""

from typing import Any

from tomoul.api.secret import SecretKeyRef


def secret_variable(name: str, ref: SecretKeyRef) -> dict[str, Any]:
    """A variable whose value is in a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}
