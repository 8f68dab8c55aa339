"""`tomoul plan`: what files would do, without a cluster."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tomoul.api.routingtable import GatewayAuth
from tomoul.cli.diffprint import markdown, print_text
from tomoul.cli.difftext import NOT_MADE, as_json
from tomoul.cli.planned_files import read, unrendered, without_objects
from tomoul.cli.refused import errors_of, forbidden, remarks_on, taken, unknown_hosted
from tomoul.cli.settings import read_metadata_names
from tomoul.kube.manifests import STANDARD_INPUT
from tomoul.plan.consequences import consequences
from tomoul.plan.diff import WorldDiff, diff_worlds
from tomoul.plan.effect import Consequence
from tomoul.plan.settings import Settings
from tomoul.plan.succession import in_succession

NOTHING_TO_DO, ERROR, CHANGES = 0, 1, 2
_MAX_NAMES = 5
_PATHS = click.Path(exists=True, allow_dash=True, path_type=Path)


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
@click.option(
    "--namespace", default=Settings().namespace, show_default=True, help="Namespace of the operator and the gateways."
)
@click.option("--output", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
def command(
    paths: tuple[Path, ...],
    against: tuple[Path, ...],
    hosted: tuple[str, ...],
    auth: str,
    propagate_labels: tuple[str, ...],
    propagate_annotations: tuple[str, ...],
    namespace: str,
    output: str,
) -> None:
    """Print what the resources in FILEs, or folders of them, would create, change and remove in each region.

    No cluster is asked: two sets of files are compared, such as two commits of a repository, by `tomoul plan new/
    --against old/`. `-` is the standard input: `kubectl get regions,tmd,tenants -A -o yaml | tomoul plan new/ --against
    -` compares with what a cluster has, and `kubectl kustomize new/ | tomoul plan -` plans what Kustomize makes.

    The exit status is 0 if there is nothing to do, 2 if there are changes, and 1 if something is wrong with FILEs.
    """
    if [*paths, *against].count(STANDARD_INPUT) > 1:
        raise click.UsageError("the standard input, `-`, can be read once only")
    settings = Settings(
        namespace=namespace,
        hosted_regions=frozenset(hosted) if hosted else None,
        gateway_auth=GatewayAuth(auth),
        propagated_labels=propagate_labels,
        propagated_annotations=propagate_annotations,
    )
    old, files = read(against, settings, stored=True), read(paths, settings)
    before, after = in_succession(old.world, files.world)
    files = files._replace(world=after)
    errors = [*without_objects(paths, files), *files.errors]
    errors = errors or unknown_hosted(hosted, before, after)
    # What was wrong before is no fault of the files that may mend it: the cluster has not got it.
    warnings = [f"--against: {error}; taken as if it were not there" for error in old.errors]
    warnings += unrendered(paths)
    diff: WorldDiff | None = None
    noticed: tuple[Consequence, ...] = ()
    if not errors:
        unchangeable = forbidden(before, after)
        errors = errors_of(files, unchangeable)
        warnings += remarks_on(files)
        after = taken(before, after, unchangeable)
        diff = diff_worlds(before, after)
        noticed = consequences(diff, before, after)
    # Not all that is noticed is in an object: between 0 and 1 replica it is the operator that decides.
    changes = diff is not None and (diff.changes or bool(noticed))
    if output == "json":
        said = {"errors": errors, "warnings": warnings, "ignored": list(files.ignored)}
        click.echo(json.dumps((as_json(diff, noticed) if diff is not None else NOT_MADE) | said, indent=2))
    elif output == "markdown":
        click.echo(markdown(diff, noticed, errors, warnings))
    elif diff is not None and (changes or not errors):
        print_text(diff, noticed)
    if output != "json":
        if files.ignored:
            click.echo(f"note: of other API groups, and not looked at: {_few(files.ignored)}", err=True)
        for warning in warnings:
            click.secho(f"warning: {warning}", err=True, fg="yellow")
        for error in errors:
            click.secho(f"error: {error}", err=True, fg="red")
    sys.exit(ERROR if errors else CHANGES if changes else NOTHING_TO_DO)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
