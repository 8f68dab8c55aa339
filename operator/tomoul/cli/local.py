"""`tomoul local`: serve resources on this machine."""

import asyncio
import sys
from pathlib import Path

import click

from tomoul.api.routingtable import GatewayAuth

try:
    from tomoul.local.demo import run_local
    from tomoul.local.desired import InvalidFilesError
    from tomoul.local.models import models_folder
    from tomoul.local.options import DEFAULT_PORT, LocalError, LocalOptions
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] == "tomoul":
        raise
    raise click.ClickException(f"`{error.name}` is missing; install `tomoul-operator[local]`") from error


@click.command(name="local")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH…")
@click.option("--demo", is_flag=True, help="Walk through the contract and show what came back.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port; 0 for any free one.  [default: {DEFAULT_PORT}, or any free one if that is taken]",
)
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with the models' files.  [default: ~/.cache/tomoul/models]",
)
@click.option(
    "--auth",
    type=click.Choice([auth.value for auth in GatewayAuth]),
    default=GatewayAuth.NONE.value,
    show_default=True,
    help="With Required, calls need a key of one of the files' Tenants, in a Secret beside it.",
)
def command(paths: tuple[Path, ...], demo: bool, port: int | None, models: Path | None, auth: str) -> None:
    """Serve the resources in YAML files, or folders of them, with processes in the place of pods.

    The address is that of the first region's gateway; changes of the files are picked up as they are saved. Without a
    terminal, --demo ends after the walk. Its status is 1 if a step did not show what it should, or if it was stopped
    before the last one.
    """
    if demo and auth == GatewayAuth.REQUIRED:
        raise click.UsageError("--demo calls without a key: leave out `--auth Required`, or --demo")
    options = LocalOptions(port=port, models=models or models_folder(), auth=GatewayAuth(auth))
    try:
        passed = asyncio.run(run_local(paths, options, demo))
    except (InvalidFilesError, LocalError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if passed else 1)
