"""Surroundings: what a plan is told of nodes, namespaces and APIServices, which others make."""

from collections.abc import Set as AbstractSet

from tomoul.controller.facts import Namespace
from tomoul.kube.store import Change
from tomoul.plan.world import ApiFact, Key, NodeFact


class Surroundings:
    """A live view."""

    def __init__(self) -> None:
        self.apis: dict[str, ApiFact] = {}
        self.jurisdictions: dict[str, AbstractSet[str]] = {}
        """Those that a namespace allows; of the namespaces with the label."""
        self._by_key: dict[Key, NodeFact] = {}
        self._nodes: tuple[NodeFact, ...] | None = None

    @property
    def nodes(self) -> tuple[NodeFact, ...]:
        """By name."""
        if self._nodes is None:
            self._nodes = tuple(self._by_key[key] for key in sorted(self._by_key))
        return self._nodes

    def see_node(self, change: Change[NodeFact]) -> None:
        """Bring `nodes` up to date."""
        self._nodes = None
        if change.new is None:
            self._by_key.pop(change.key, None)
        else:
            self._by_key[change.key] = change.new

    def see_namespace(self, change: Change[Namespace]) -> None:
        """Bring `jurisdictions` up to date."""
        if change.new is None or change.new.jurisdictions is None:
            self.jurisdictions.pop(change.key.name, None)
        else:
            self.jurisdictions[change.key.name] = change.new.jurisdictions

    def see_api(self, change: Change[ApiFact]) -> None:
        """Bring `apis` up to date."""
        if change.new is None:
            self.apis.pop(change.key.name, None)
        else:
            self.apis[change.key.name] = change.new
