"""Secrets: they are referenced, never copied."""

from pydantic import Field

from tomoul.api.meta import ApiModel
from tomoul.api.names import ObjectName, SecretKey


class SecretKeyRef(ApiModel):
    """One key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Secret name")
    key: SecretKey = Field(description="Key in the Secret's data")
