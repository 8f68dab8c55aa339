"""Named models: the ModelDeployments that can be read, and which of them claim a name."""

from collections.abc import Iterable, Sequence

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.controller.declared import Declared
from tomoul.kube.store import Change
from tomoul.plan.claims import Claim, claims_to, served_ids
from tomoul.plan.isolation import isolated
from tomoul.plan.settings import Settings
from tomoul.plan.shards import SHARDS, shard_of
from tomoul.plan.world import Key


class NamedModels:
    """Live views, in which a change touches only the names that it concerns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.models: dict[Key, ModelDeployment] = {}
        self.unreadable: dict[Key, str | None] = {}
        """Those that never could be read, with their model id if that much can be."""
        self.claims: dict[str, tuple[Claim, ...]] = {}
        """By id, alias or id of an adapter."""
        self.served: tuple[dict[Key, Sequence[str]], ...] = tuple({} for _ in range(SHARDS))
        """By shard, each model with the ids that it serves."""
        self._by_name: dict[str, set[Key]] = {}

    def claimants(self, names: Iterable[str]) -> set[Key]:
        """ModelDeployments with one of these ids or aliases."""
        return {key for name in names for key in self._by_name.get(name, ())}

    def see(self, change: Change[Declared[ModelDeployment]]) -> None:
        """Bring the views up to date."""
        before = self.models.get(change.key)
        self.unreadable.pop(change.key, None)
        if change.new is None:
            self.models.pop(change.key, None)
        elif change.new.resource is not None:
            self.models[change.key] = isolated(change.new.resource, self._settings)
        elif before is None and not change.new.deleting:
            self.unreadable[change.key] = change.new.model_id
        # An object that has become invalid goes on with what it was: its routes must not vanish with its typing error.
        after = self.models.get(change.key)
        if not change.relevant:
            return
        if before is not None:
            self.served[shard_of(before.spec.model.id)].pop(change.key, None)
        if after is not None:
            self.served[shard_of(after.spec.model.id)][change.key] = served_ids(after)
        for name in model_ids(before):
            self._by_name.get(name, set()).discard(change.key)
        for name in model_ids(after):
            self._by_name.setdefault(name, set()).add(change.key)
        for name in {*model_ids(before), *model_ids(after)}:
            keys = self._by_name.get(name, set())
            if rivals := claims_to(name, keys, self.models):
                self.claims[name] = rivals
            else:
                self.claims.pop(name, None)
            if not keys:
                self._by_name.pop(name, None)


def model_ids(model: ModelDeployment | None) -> tuple[str, ...]:
    """Id, aliases and the ids of adapters."""
    if model is None:
        return ()
    return (model.spec.model.id, *model.spec.model.aliases, *(adapter.id for adapter in model.spec.adapters))
