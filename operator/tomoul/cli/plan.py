"""`tomoul plan`: what files would do, without a cluster."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click

from tomoul.api.conditions import Reason
from tomoul.api.manifest import Parsed, Resource
from tomoul.api.routingtable import GatewayAuth
from tomoul.api.transition import forbidden_changes
from tomoul.cli.difftext import as_json, print_diffs
from tomoul.cli.settings import read_metadata_names
from tomoul.kube.manifests import ENDINGS, files_of, read_files
from tomoul.plan.acceptance import accepted_regions, refusals, unrouted_aliases
from tomoul.plan.claims import claims
from tomoul.plan.diff import RegionDiff, diff_worlds
from tomoul.plan.engines.version import contradiction
from tomoul.plan.gather import gather
from tomoul.plan.settings import Settings
from tomoul.plan.tenant import tenant_accepted
from tomoul.plan.world import Key, World

NOTHING_TO_DO, ERROR, CHANGES = 0, 1, 2
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
@click.option(
    "--propagate-labels",
    default="",
    callback=read_metadata_names,
    help="Labels that pods take from their ModelDeployment, between commas, as the chart's `propagate.labels` says: "
    "another value replaces the pods.",
)
@click.option("--propagate-annotations", default="", callback=read_metadata_names, help="Annotations, likewise.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    paths: tuple[Path, ...],
    against: tuple[Path, ...],
    hosted: tuple[str, ...],
    auth: str,
    propagate_labels: tuple[str, ...],
    propagate_annotations: tuple[str, ...],
    output: str,
) -> None:
    """Print what the resources in FILEs, or folders of them, would create, change and remove in each region.

    No cluster is asked: two sets of files are compared, such as two commits of a repository, by `tomoul plan new/
    --against old/`. The exit status is 0 if there is nothing to do, 2 if there are changes, and 1 if something is
    wrong.
    """
    settings = Settings(
        hosted_regions=frozenset(hosted) if hosted else None,
        gateway_auth=GatewayAuth(auth),
        propagated_labels=propagate_labels,
        propagated_annotations=propagate_annotations,
    )
    before, after = _read(against, settings), _read(paths, settings)
    errors = [*_empty(paths), *before.errors, *after.errors]
    warnings: list[str] = []
    regions: tuple[RegionDiff, ...] = ()
    if not errors:
        errors = [
            *_unknown_hosted(hosted, before.world, after.world),
            *_forbidden(before, after),
            *_refused(after),
            *_refused_tenants(after),
        ]
        warnings = _remarks(after)
        regions = diff_worlds(before.world, _taken(before.world, after.world))
    changes = any(region.changes for region in regions)
    if output == "json":
        said = {"errors": errors, "warnings": warnings, "ignored": list(after.ignored)}
        click.echo(json.dumps(as_json(regions) | said, indent=2))
    else:
        if changes or not errors:
            print_diffs(regions)
        if after.ignored:
            click.echo(f"note: of other API groups, and not looked at: {_few(after.ignored)}", err=True)
        for warning in warnings:
            click.secho(f"warning: {warning}", err=True, fg="yellow")
        for error in errors:
            click.secho(f"error: {error}", err=True, fg="red")
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


def _forbidden(before: Files, after: Files) -> list[str]:
    """Changes of what cannot be changed, which the API server refuses, each with its file and field."""
    return [
        f"{after.origins['ModelDeployment', key]}: ModelDeployment {key.name}: {error}"
        for key, model in sorted(after.world.models.items())
        if key in before.world.models
        for error in forbidden_changes(before.world.models[key], model)
    ]


def _taken(before: World, after: World) -> World:
    """`after` as the API server would have it: an object that changes what cannot be changed stays as it was."""
    stays = {
        key: before.models[key]
        for key, model in after.models.items()
        if key in before.models and forbidden_changes(before.models[key], model)
    }
    return replace(after, models={**after.models, **stays})


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


def _remarks(files: Files) -> list[str]:
    """What refuses nothing and is easily missed: aliases that mean another model, an image of another version."""
    owners = claims(files.world.models)
    found = []
    for key, model in sorted(files.world.models.items()):
        where = f"{files.origins['ModelDeployment', key]}: ModelDeployment {key.name}"
        if version := contradiction(model.spec):
            found.append(f"{where}: {version}")
        found += [
            f"{where}: {region}: {aliases}"
            for region in accepted_regions(files.world, key, owners)
            if (aliases := unrouted_aliases(model, region, owners))
        ]
    return found


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
