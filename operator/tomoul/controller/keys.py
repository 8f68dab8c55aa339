"""Work keys: what one reconcile is about."""

from enum import StrEnum
from typing import NamedTuple

from tomoul.plan.world import Key


class Kind(StrEnum):
    """What there is to reconcile."""

    MODEL = "model"
    REGION = "region"
    TABLE = "table"
    TENANT = "tenant"
    KEY_ACCESS = "key_access"


class WorkKey(NamedTuple):
    """One object of a kind; the access to keys has only a namespace."""

    kind: Kind
    namespace: str
    name: str

    @property
    def object(self) -> Key:
        """Namespace and name."""
        return Key(self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"
