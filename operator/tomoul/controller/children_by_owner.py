"""Children by owner: what each controlling owner has of the objects that the operator makes."""

from typing import Any

from tomoul.controller.children import Child
from tomoul.kube.resources import Resource
from tomoul.kube.store import Change
from tomoul.plan.world import Key


class ChildrenByOwner:
    """A live view."""

    def __init__(self) -> None:
        self._by_uid: dict[str, set[tuple[Resource, Key]]] = {}

    def of(self, owner_uid: str) -> set[tuple[Resource, Key]]:
        """Objects whose controlling owner has this uid: a copy."""
        return set(self._by_uid.get(owner_uid, ()))

    def see(self, change: Change[Any]) -> None:
        """Bring the view up to date."""
        old: Child[Any] | None = change.old
        new: Child[Any] | None = change.new
        if old is not None:
            siblings = self._by_uid.get(old.owner_uid, set())
            siblings.discard((change.resource, change.key))
            if not siblings:
                self._by_uid.pop(old.owner_uid, None)
        if new is not None:
            self._by_uid.setdefault(new.owner_uid, set()).add((change.resource, change.key))
