"""Readable: the Regions, or the Tenants, that a plan goes by, and those that cannot be read."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tomoul.api.region import Region
from tomoul.api.tenant import Tenant
from tomoul.controller.declared import Declared
from tomoul.kube.store import Change
from tomoul.plan.world import Key

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", Region, Tenant)


class Readable(Generic[K, R]):
    """A live view. One that cannot be read any more counts as it last could."""

    def __init__(self, named: Callable[[Key], K]) -> None:
        """`named` makes of an object's key what the plan knows it by."""
        self.resources: dict[K, R] = {}
        self.unreadable: set[K] = set()
        """Those that could never be read."""
        self._named = named

    def see(self, change: Change[Declared[R]]) -> None:
        """Bring the view up to date."""
        name = self._named(change.key)
        self.unreadable.discard(name)
        if change.new is None:
            self.resources.pop(name, None)
        elif change.new.resource is not None:
            self.resources[name] = change.new.resource
        elif name not in self.resources and not change.new.deleting:
            self.unreadable.add(name)
