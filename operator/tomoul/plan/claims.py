"""Claims: which ModelDeployment owns a model id or alias in a region, where several name it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.plan.world import Key

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Claim:
    """One ModelDeployment's wish to answer to a name."""

    key: Key
    regions: frozenset[str]
    is_id: bool
    """Whether the name is the model's id; else it is an alias."""


@dataclass(frozen=True)
class Claims:
    """All claims by name: of two that name the same region the first owns it.

    Ids come before aliases, so that nobody takes a model's name over by adding an alias; of equals the older is first.
    """

    by_name: Mapping[str, tuple[Claim, ...]]

    def owner(self, region: str, name: str) -> Claim | None:
        """Who answers to `name` in `region`, or None."""
        return next((claim for claim in self.by_name.get(name, ()) if region in claim.regions), None)

    def holder(self, region: str, name: str) -> Claim | None:
        """Who `name` means in the tables of `region`: its owner there, else the first of other regions."""
        return self.owner(region, name) or next(iter(self.by_name.get(name, ())), None)

    def claimants(self, model_id: str) -> tuple[Key, ...]:
        """ModelDeployments whose id is `model_id`, oldest first."""
        return tuple(claim.key for claim in self.by_name.get(model_id, ()) if claim.is_id)


def claims(models: Mapping[Key, ModelDeployment]) -> Claims:
    """The claims of all models; see `claims_to`."""
    by_name: dict[str, set[Key]] = {}
    for key, model in models.items():
        for name in (model.spec.model.id, *model.spec.model.aliases):
            by_name.setdefault(name, set()).add(key)
    found = {name: claims_to(name, keys, models) for name, keys in by_name.items()}
    return Claims({name: rivals for name, rivals in found.items() if rivals})


def claims_to(name: str, keys: Iterable[Key], models: Mapping[Key, ModelDeployment]) -> tuple[Claim, ...]:
    """The claims to one name by those that have it as id or alias, the first one first.

    The order: ids win over aliases, then the older creationTimestamp, then namespace and name.

    Models that are being deleted claim nothing. A refused model keeps its claim, so that fixing it does not take the
    id away from a younger one that served it meanwhile.
    """
    rivals = []
    for key in keys:
        model = models[key]
        if model.metadata.deletion_timestamp is None:
            regions = frozenset(target.name for target in model.spec.regions)
            claim = Claim(key, regions, is_id=name == model.spec.model.id)
            rivals.append((not claim.is_id, model.metadata.creation_timestamp or _NEVER, key, claim))
    return tuple(claim for *_, claim in sorted(rivals, key=lambda rival: rival[:3]))
