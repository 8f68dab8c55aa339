"""What `tomoul plan` prints of a diff: text for people, plain values for pipelines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from tomoul.plan.capacity import NO_DEMAND, Demand, added
from tomoul.plan.diff import Action, FieldChange, RegionDiff

_SIGNS = {Action.CREATE: ("+", "green"), Action.CHANGE: ("~", "yellow"), Action.REMOVE: ("-", "red")}
_MAX_VALUE = 100


def print_diffs(regions: Sequence[RegionDiff]) -> None:
    """Print what changes, region by region, and the totals of GPUs."""
    for region in regions:
        if not region.changes:
            continue
        click.secho(region.region, bold=True)
        for change in region.objects:
            name = "/".join(filter(None, (change.namespace, change.name)))
            _print_change(change.action, change.kind, name, change.fields)
        for route in region.routes:
            kind = "route" if route.served else "route elsewhere"
            _print_change(route.action, kind, route.model, route.fields)
        for total in region.gpus:
            click.echo(f"  GPUs {total.accelerator}: {total.before} → {total.after}")
        click.echo()
    counts = {action: sum(each.action is action for region in regions for each in region.objects) for action in Action}
    if not any(region.changes for region in regions):
        click.echo("Nothing to do.")
        return
    for accelerator, (old, new) in _gpu_totals(regions).items():
        click.echo(f"GPUs in all regions, {accelerator}: {old} → {new}")
    click.echo(
        f"{counts[Action.CREATE]} to create, {counts[Action.CHANGE]} to change, {counts[Action.REMOVE]} to remove."
    )


def _print_change(action: Action, kind: str, name: str, fields: Sequence[FieldChange]) -> None:
    sign, color = _SIGNS[action]
    click.secho(f"  {sign} {kind:<19} {name}", fg=color)
    for field in fields:
        click.echo(f"      {field.path}: {_short(field.old)} → {_short(field.new)}")


def _short(value: object) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def _gpu_totals(regions: Sequence[RegionDiff]) -> Mapping[str, tuple[Demand, Demand]]:
    totals: dict[str, tuple[Demand, Demand]] = {}
    for total in (total for region in regions for total in region.gpus):
        old, new = totals.get(total.accelerator, (NO_DEMAND, NO_DEMAND))
        totals[total.accelerator] = (added(old, total.before), added(new, total.after))
    return dict(sorted(totals.items()))


def _gpus_as_json(accelerator: str, before: Demand, after: Demand) -> dict[str, Any]:
    return {
        "accelerator": accelerator,
        "before": before.least,
        "after": after.least,
        "beforeAtMost": before.most,
        "afterAtMost": after.most,
    }


def as_json(regions: Sequence[RegionDiff]) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "changes": any(region.changes for region in regions),
        "regions": [
            {
                "region": region.region,
                "objects": [_entry(change._asdict()) for change in region.objects],
                "routes": [_entry(change._asdict()) for change in region.routes],
                "gpus": [_gpus_as_json(*total) for total in region.gpus],
            }
            for region in regions
        ],
        "gpus": [_gpus_as_json(name, old, new) for name, (old, new) in _gpu_totals(regions).items()],
    }


def _entry(change: dict[str, Any]) -> dict[str, Any]:
    return change | {"fields": [field._asdict() for field in change["fields"]]}
