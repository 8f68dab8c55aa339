"""Claims: which ModelDeployment owns a model id or alias in a region, where several name it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.plan.shards import SHARDS, shard_of
from tomoul.plan.world import Key

_NEVER = datetime.max.replace(tzinfo=UTC)


class NameKind(IntEnum):
    """What a name is to the ModelDeployment that lists it; the lower goes before the higher."""

    ID = 0
    ADAPTER = 1
    ALIAS = 2


@dataclass(frozen=True)
class Claim:
    """One ModelDeployment's wish to answer to a name."""

    key: Key
    regions: frozenset[str]
    kind: NameKind

    @property
    def is_id(self) -> bool:
        """Whether the name is a model's or an adapter's own; else it is an alias."""
        return self.kind is not NameKind.ALIAS


@dataclass(frozen=True)
class Claims:
    """All claims by name: of two that name the same region the first owns it.

    Ids come before adapters and these before aliases, so that nobody takes a model's name over by adding one of those;
    of equals the older ModelDeployment is first.
    """

    by_name: Mapping[str, tuple[Claim, ...]]
    served: Sequence[Mapping[Key, Sequence[str]]]
    """By shard, each model with the ids that it serves."""

    @property
    def routes(self) -> int:
        """How many ids are served."""
        return sum(len(ids) for models in self.served for ids in models.values())

    def ids(self, shard: int | None = None) -> set[str]:
        """Ids that models serve, those of one shard or all."""
        found = self.served if shard is None else self.served[shard : shard + 1]
        return {name for models in found for ids in models.values() for name in ids}

    def owner(self, region: str, name: str) -> Claim | None:
        """Who answers to `name` in `region`, or None."""
        return next((claim for claim in self.by_name.get(name, ()) if region in claim.regions), None)

    def holder(self, region: str, name: str) -> Claim | None:
        """Who `name` means in the tables of `region`: its owner there, else the first of other regions."""
        return self.owner(region, name) or next(iter(self.by_name.get(name, ())), None)

    def claimants(self, model_id: str) -> tuple[Key, ...]:
        """ModelDeployments that serve `model_id` as their own or as an adapter, in the order of their claims."""
        return tuple(claim.key for claim in self.by_name.get(model_id, ()) if claim.is_id)


def claims(models: Mapping[Key, ModelDeployment]) -> Claims:
    """The claims of all models; see `claims_to`."""
    by_name: dict[str, set[Key]] = {}
    for key, model in models.items():
        for name in _names(model):
            by_name.setdefault(name, set()).add(key)
    found = {name: claims_to(name, keys, models) for name, keys in by_name.items()}
    served: tuple[dict[Key, Sequence[str]], ...] = tuple({} for _ in range(SHARDS))
    for key, model in models.items():
        served[shard_of(model.spec.model.id)][key] = served_ids(model)
    return Claims({name: rivals for name, rivals in found.items() if rivals}, served)


def served_ids(model: ModelDeployment) -> tuple[str, ...]:
    """The ids that a ModelDeployment serves: its model's and its adapters'."""
    return (model.spec.model.id, *(adapter.id for adapter in model.spec.adapters))


def claims_to(name: str, keys: Iterable[Key], models: Mapping[Key, ModelDeployment]) -> tuple[Claim, ...]:
    """The claims to one name by those that have it as id, adapter or alias, the first one first.

    The order: ids win over adapters and these over aliases, then the older creationTimestamp, then namespace and name.

    Models that are being deleted claim nothing. A refused model keeps its claim, so that fixing it does not take the
    id away from a younger one that served it meanwhile.
    """
    rivals = []
    for key in keys:
        model = models[key]
        if model.metadata.deletion_timestamp is None:
            regions = frozenset(target.name for target in model.spec.regions)
            claim = Claim(key, regions, _names(model)[name])
            rivals.append((claim.kind, model.metadata.creation_timestamp or _NEVER, key, claim))
    return tuple(claim for *_, claim in sorted(rivals, key=lambda rival: rival[:3]))


def _names(model: ModelDeployment) -> Mapping[str, NameKind]:
    aliases = dict.fromkeys(model.spec.model.aliases, NameKind.ALIAS)
    adapters = {adapter.id: NameKind.ADAPTER for adapter in model.spec.adapters}
    return aliases | adapters | {model.spec.model.id: NameKind.ID}
