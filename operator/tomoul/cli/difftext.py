"""What `tomoul plan` prints of a diff: lines for people, plain values for pipelines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tomoul.plan.capacity import NO_DEMAND, Demand, added
from tomoul.plan.diff import Action, FieldChange, ObjectChange, RegionDiff, RouteChange, WorldDiff
from tomoul.plan.effect import HARMLESS, Consequence

SIGNS = {Action.CREATE: "+", Action.CHANGE: "~", Action.REMOVE: "-"}
EVERYWHERE = "every region"
NOT_MADE: dict[str, Any] = {"changes": False, "consequences": [], "regions": [], "objects": [], "gpus": []}
"""The plain values of a diff that was not made, since the files have errors."""
_MAX_VALUE = 100


class Line(NamedTuple):
    """One line, without its indentation."""

    level: int
    """0 for a region, 1 for what changes in it, 2 for one of its fields."""
    text: str
    action: Action | None = None


def lines_of(diff: WorldDiff) -> Iterator[Line]:
    """What changes, region by region."""
    if diff.shared:
        yield Line(0, EVERYWHERE)
        for change in diff.shared:
            yield from _object_lines(change)
    for region in diff.regions:
        if not region.changes:
            continue
        yield Line(0, region.region)
        for change in region.objects:
            yield from _object_lines(change)
        for route in region.routes:
            kind = "route" if route.served else "route elsewhere"
            yield from _change_lines(route.action, kind, route.model, route.fields)
        for total in region.gpus:
            yield Line(1, f"GPUs {total.accelerator}: {total.before} → {total.after}")


def consequence_line(each: Consequence) -> str:
    """Who notices what, where."""
    where = (
        f" in {' and '.join(filter(None, (', '.join(each.regions[:-1]), each.regions[-1])))}" if each.regions else ""
    )
    return f"{' ' if each.effect in HARMLESS else '!'} {each.subject}{where}: {each.message}"


def counted(changes: Sequence[ObjectChange | RouteChange]) -> str:
    """How many are created, changed and removed."""
    counts = {action: sum(each.action is action for each in changes) for action in Action}
    return f"{counts[Action.CREATE]} to create, {counts[Action.CHANGE]} to change, {counts[Action.REMOVE]} to remove"


def objects_of(diff: WorldDiff) -> list[ObjectChange]:
    """All objects that change."""
    return [*diff.shared, *(change for region in diff.regions for change in region.objects)]


def own_routes_of(diff: WorldDiff) -> list[RouteChange]:
    """All routes that change in the regions that serve their models."""
    return [route for region in diff.regions for route in region.routes if route.served]


def gpu_totals(regions: Sequence[RegionDiff]) -> Mapping[str, tuple[Demand, Demand]]:
    """GPUs of all regions before and after, by accelerator."""
    totals: dict[str, tuple[Demand, Demand]] = {}
    for total in (total for region in regions for total in region.gpus):
        old, new = totals.get(total.accelerator, (NO_DEMAND, NO_DEMAND))
        totals[total.accelerator] = (added(old, total.before), added(new, total.after))
    return dict(sorted(totals.items()))


def as_json(diff: WorldDiff, noticed: Sequence[Consequence]) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "changes": diff.changes or bool(noticed),
        "consequences": [
            each._asdict() | {"harmless": each.effect in HARMLESS, "regions": list(each.regions)} for each in noticed
        ],
        "regions": [
            {
                "region": region.region,
                "objects": [_entry(change._asdict()) for change in region.objects],
                "routes": [_entry(change._asdict()) for change in region.routes],
                "gpus": [_gpus_as_json(*total) for total in region.gpus],
            }
            for region in diff.regions
        ],
        "objects": [_entry(change._asdict()) for change in diff.shared],
        "gpus": [_gpus_as_json(name, old, new) for name, (old, new) in gpu_totals(diff.regions).items()],
    }


def _object_lines(change: ObjectChange) -> Iterator[Line]:
    name = "/".join(filter(None, (change.namespace, change.name)))
    return _change_lines(change.action, change.kind, name, change.fields)


def _change_lines(action: Action, kind: str, name: str, fields: Sequence[FieldChange]) -> Iterator[Line]:
    yield Line(1, f"{SIGNS[action]} {kind:<19} {name}", action)
    for field in fields:
        yield Line(2, f"{field.path}: {_short(field.old)} → {_short(field.new)}")


def _short(value: object) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def _gpus_as_json(accelerator: str, before: Demand, after: Demand) -> dict[str, Any]:
    return {
        "accelerator": accelerator,
        "before": before.least,
        "after": after.least,
        "beforeAtMost": before.most,
        "afterAtMost": after.most,
    }


def _entry(change: dict[str, Any]) -> dict[str, Any]:
    return change | {"fields": [field._asdict() for field in change["fields"]]}
