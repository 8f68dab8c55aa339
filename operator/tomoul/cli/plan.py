"""`tomoul plan`: what files would do, without a cluster."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from tomoul.api.conditions import Reason
from tomoul.api.manifest import Parsed, Resource
from tomoul.api.routingtable import GatewayAuth
from tomoul.kube.manifests import ENDINGS, files_of, read_files
from tomoul.plan.acceptance import accepted_regions, refusals, unrouted_aliases
from tomoul.plan.capacity import NO_DEMAND, Demand
from tomoul.plan.claims import claims
from tomoul.plan.diff import Action, FieldChange, RegionDiff, diff_worlds
from tomoul.plan.gather import gather
from tomoul.plan.tenant import tenant_accepted
from tomoul.plan.world import Key, Settings, World

NOTHING_TO_DO, ERROR, CHANGES = 0, 1, 2
_SIGNS = {Action.CREATE: ("+", "green"), Action.CHANGE: ("~", "yellow"), Action.REMOVE: ("-", "red")}
_MAX_VALUE = 100
_MAX_NAMES = 5
_PATHS = click.Path(exists=True, path_type=Path)


class Files(NamedTuple):
    """What a set of files holds."""

    world: World
    origins: Mapping[tuple[str, Key], str]
    """File by kind and key."""
    errors: tuple[str, ...]
    ignored: tuple[str, ...]
    """Objects of other API groups."""


@click.command(name="plan")
@click.argument("paths", nargs=-1, required=True, type=_PATHS, metavar="FILE…")
@click.option(
    "--against", multiple=True, type=_PATHS, help="File or folder with the state before; nothing if not given."
)
@click.option("--hosted", multiple=True, metavar="REGION", help="Region that the operator hosts; all if not given.")
@click.option(
    "--auth",
    type=click.Choice([auth.value for auth in GatewayAuth]),
    default=GatewayAuth.REQUIRED.value,
    show_default=True,
    help="Whether the gateways ask for keys, as the chart's `gateway.auth` says.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    paths: tuple[Path, ...], against: tuple[Path, ...], hosted: tuple[str, ...], auth: str, output: str
) -> None:
    """Print what the resources in FILEs, or folders of them, would create, change and remove in each region.

    No cluster is asked: two sets of files are compared, such as two commits of a repository, by `tomoul plan new/
    --against old/`. The exit status is 0 if there is nothing to do, 2 if there are changes, and 1 if something is
    wrong.
    """
    settings = Settings(hosted_regions=frozenset(hosted) if hosted else None, gateway_auth=GatewayAuth(auth))
    before, after = _read(against, settings), _read(paths, settings)
    errors = [*_empty(paths), *before.errors, *after.errors]
    warnings: list[str] = []
    regions: tuple[RegionDiff, ...] = ()
    if not errors:
        errors = [*_unknown_hosted(hosted, before.world, after.world), *_refused(after), *_refused_tenants(after)]
        warnings = _unrouted(after)
        regions = diff_worlds(before.world, after.world)
    if output == "json":
        said = {"errors": errors, "warnings": warnings, "ignored": list(after.ignored)}
        click.echo(json.dumps(_as_json(regions) | said, indent=2))
    else:
        _print(regions)
        if after.ignored:
            click.echo(f"note: of other API groups, and not looked at: {_few(after.ignored)}", err=True)
        for warning in warnings:
            click.secho(f"warning: {warning}", err=True, fg="yellow")
        for error in errors:
            click.secho(f"error: {error}", err=True, fg="red")
    changes = any(region.changes for region in regions)
    sys.exit(ERROR if errors else CHANGES if changes else NOTHING_TO_DO)


def _read(paths: Sequence[Path], settings: Settings) -> Files:
    try:
        files = read_files(paths)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    origins = {(str(each.kind), _key(each)): origin for origin, parsed in files for each in parsed.resources}
    parsed = sum((each for _, each in files), Parsed())
    world = gather(parsed.resources, settings, parsed.namespaces)
    return Files(world, origins, tuple(map(str, parsed.errors)), parsed.ignored)


def _empty(paths: Sequence[Path]) -> list[str]:
    """Folders that hold nothing: a slip that would otherwise look like nothing to do, or like all to be removed."""
    endings = ", ".join(f"`{ending}`" for ending in ENDINGS)
    return [f"{path}: holds no file that ends in {endings}" for path in paths if not any(files_of([path]))]


def _key(resource: Resource) -> Key:
    return Key(resource.metadata.namespace, resource.metadata.name)


def _unknown_hosted(hosted: Sequence[str], *worlds: World) -> list[str]:
    known = sorted({name for world in worlds for name in world.regions})
    return [
        f"--hosted: Region `{name}` does not exist; use one of: {', '.join(known)}"
        for name in hosted
        if name not in known
    ]


def _refused(files: Files) -> list[str]:
    """Models that no operator would accept, each with its file and field."""
    owners = claims(files.world.models)
    found: dict[str, None] = {}
    for key in sorted(files.world.models):
        for refusal in refusals(files.world, key, owners).values():
            if refusal is not None and refusal.reason is not Reason.REGION_DISABLED:
                origin = files.origins["ModelDeployment", key]
                found[f"{origin}: ModelDeployment {key.name}: {refusal.field}: {refusal.message}"] = None
    return list(found)


def _refused_tenants(files: Files) -> list[str]:
    """Tenants that name what does not exist, each with its file and field."""
    owners = claims(files.world.models)
    found = []
    for key in sorted(files.world.tenants):
        accepted = tenant_accepted(files.world, key, owners)
        if accepted.status != "True":
            found.append(f"{files.origins['Tenant', key]}: Tenant {key.name}: {accepted.message}")
    return found


def _unrouted(files: Files) -> list[str]:
    """Aliases that mean another model, which refuses nothing and is easily missed."""
    owners = claims(files.world.models)
    return [
        f"{files.origins['ModelDeployment', key]}: ModelDeployment {key.name}: {region}: {aliases}"
        for key, model in sorted(files.world.models.items())
        for region in accepted_regions(files.world, key, owners)
        if (aliases := unrouted_aliases(model, region, owners))
    ]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _print(regions: Sequence[RegionDiff]) -> None:
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
        totals[total.accelerator] = (_sum(old, total.before), _sum(new, total.after))
    return dict(sorted(totals.items()))


def _sum(one: Demand, other: Demand) -> Demand:
    return Demand(one.least + other.least, one.most + other.most)


def _gpus_as_json(accelerator: str, before: Demand, after: Demand) -> dict[str, Any]:
    return {
        "accelerator": accelerator,
        "before": before.least,
        "after": after.least,
        "beforeAtMost": before.most,
        "afterAtMost": after.most,
    }


def _as_json(regions: Sequence[RegionDiff]) -> dict[str, Any]:
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
