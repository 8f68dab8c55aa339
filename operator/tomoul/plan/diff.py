"""Diff: what changes between the plans of two worlds, region by region."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from tomoul.api.meta import LABEL_MODEL_DEPLOYMENT, LABEL_REGION
from tomoul.api.routingtable import RoutingTable
from tomoul.plan.capacity import NO_DEMAND, Demand, added, demand
from tomoul.plan.naming import region_of_table
from tomoul.plan.planner import DesiredState, identity, plan
from tomoul.plan.world import Key, Manifest, World


class Action(StrEnum):
    """What happens to an object or a route."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


class FieldChange(NamedTuple):
    """One field's values; None where it is not set."""

    path: str
    """Such as `spec.template.spec.containers[engine].args[3]`; entries that have a name go by it."""
    old: object
    new: object


class ObjectChange(NamedTuple):
    """One object that is created, changed or removed."""

    action: Action
    kind: str
    namespace: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    """What differs, for a change."""


class RouteChange(NamedTuple):
    """One model that the region's gateways gain, lose, or serve in another way."""

    action: Action
    model: str
    served: bool
    """Whether the region itself serves the model, before or after; else its gateways only know who does."""
    fields: tuple[FieldChange, ...] = ()


class GpuTotal(NamedTuple):
    """GPUs that models ask for in a region, from the fewest to the most that their pools may have."""

    accelerator: str
    before: Demand
    after: Demand


@dataclass(frozen=True)
class RegionDiff:
    """What changes in one region."""

    region: str
    objects: tuple[ObjectChange, ...]
    routes: tuple[RouteChange, ...]
    gpus: tuple[GpuTotal, ...]
    """All accelerators that models ask for, changed or not."""

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.objects or self.routes)


@dataclass(frozen=True)
class WorldDiff:
    """What leads from the plan of one world to that of another."""

    regions: tuple[RegionDiff, ...]
    """All regions of both, by name."""
    shared: tuple[ObjectChange, ...]
    """What belongs to no region: the gateways' access to keys."""
    old: DesiredState
    new: DesiredState

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.shared) or any(region.changes for region in self.regions)


def diff_worlds(before: World, after: World) -> WorldDiff:
    """What leads from the plan of one world to that of the other.

    What ran before of a model that is refused after goes on as it is: of that nothing changes.
    """
    old, new = plan(before), plan(after)
    kept = {(key, region) for key, planned in new.models.items() if key in before.models for region in planned.keep}
    if kept:
        # Their routes are in the tables that there are.
        tables = {name: RoutingTable.model_validate(table, extra="ignore") for name, table in old.tables.items()}
        new = plan(replace(after, facts=replace(after.facts, tables=tables)))
    gpus_before, gpus_after = demand(before), dict(demand(after))
    for place, count in demand(before, only=kept).items():
        gpus_after[place] = added(gpus_after.get(place, NO_DEMAND), count)
    objects = _object_changes(old, new, kept)
    found = []
    for region in sorted({*before.regions, *after.regions}):
        accelerators = sorted({name for at, name in (*gpus_before, *gpus_after) if at == region})
        found.append(
            RegionDiff(
                region=region,
                objects=tuple(objects.get(region, ())),
                routes=tuple(_route_changes(region, routes_of(old, region), routes_of(new, region))),
                gpus=tuple(
                    GpuTotal(
                        name, gpus_before.get((region, name), NO_DEMAND), gpus_after.get((region, name), NO_DEMAND)
                    )
                    for name in accelerators
                ),
            )
        )
    return WorldDiff(tuple(found), tuple(objects.get(None, ())), old, new)


def field_changes(old: object, new: object, path: str = "") -> Iterator[FieldChange]:
    """Fields that differ between two values of JSON, down to the smallest that can be named."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _members(old, new, lambda key: f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list):
        by_name = _named(old), _named(new)
        if by_name[0] is not None and by_name[1] is not None:
            yield from _members(by_name[0], by_name[1], lambda key: f"{path}[{key}]")
        else:
            yield from _members(dict(enumerate(old)), dict(enumerate(new)), lambda key: f"{path}[{key}]")
    elif old != new:
        yield FieldChange(path, old, new)


def _members(
    old: Mapping[Any, object], new: Mapping[Any, object], path_of: Callable[[Any], str]
) -> Iterator[FieldChange]:
    for key in [*old, *(key for key in new if key not in old)]:
        yield from field_changes(old.get(key), new.get(key), path_of(key))


def _named(entries: list[Any]) -> dict[str, object] | None:
    """The entries by their names, or None if they have none or share one."""
    for field in ("name", "id", "region"):
        if all(isinstance(entry, Mapping) and field in entry for entry in entries):
            by_name = {str(entry[field]): entry for entry in entries}
            return by_name if len(by_name) == len(entries) else None
    return None


def _object_changes(
    old: DesiredState, new: DesiredState, kept: Container[tuple[Key, str]]
) -> Mapping[str | None, list[ObjectChange]]:
    """By region; None for what belongs to none."""
    before = {identity(obj): obj for obj in old.objects}
    after = {identity(obj): obj for obj in new.objects}
    found: dict[str | None, list[ObjectChange]] = {}
    for key in sorted({*before, *after}, key=lambda key: (key[1], key[2:])):
        _, kind, namespace, name = key
        was, becomes = before.get(key), after.get(key)
        labels = ((becomes or was) or {})["metadata"]["labels"]
        region = labels.get(LABEL_REGION)
        if becomes is None and (Key(namespace, labels.get(LABEL_MODEL_DEPLOYMENT, "")), region) in kept:
            continue
        if was is None or becomes is None:
            action = Action.CREATE if was is None else Action.REMOVE
            found.setdefault(region, []).append(ObjectChange(action, kind, namespace, name))
        elif fields := tuple(field_changes(_without_routes(was), _without_routes(becomes))):
            found.setdefault(region, []).append(ObjectChange(Action.CHANGE, kind, namespace, name, fields))
    return found


def _without_routes(obj: Manifest) -> Manifest:
    """The object; a RoutingTable without its models, which are compared one by one."""
    if obj["kind"] != "RoutingTable":
        return obj
    return {**obj, "spec": {name: value for name, value in obj["spec"].items() if name != "models"}}


def routes_of(state: DesiredState, region: str) -> Mapping[str, Mapping[str, Any]]:
    """Routes of a region by id, whichever of its tables they are in."""
    tables = [table["spec"] for name, table in state.tables.items() if region_of_table(name) == region]
    return {route["id"]: route for spec in tables for route in spec["models"]}


def _route_changes(
    region: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[RouteChange]:
    for model in sorted({*before, *after}):
        served = any(region in routes[model]["regions"] for routes in (before, after) if model in routes)
        if model not in before:
            yield RouteChange(Action.CREATE, model, served)
        elif model not in after:
            yield RouteChange(Action.REMOVE, model, served)
        elif fields := tuple(field_changes(before[model], after[model])):
            yield RouteChange(Action.CHANGE, model, served, fields)
