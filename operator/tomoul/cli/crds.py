"""`tomoul crds`: write the CustomResourceDefinitions, or tell which files are stale."""

from pathlib import Path

import click

from tomoul.api.crd import crd_files


@click.command("crds")
@click.option(
    "--output", "folders", multiple=True, required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to; may be given several times.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file differs from the models.")
def command(folders: tuple[Path, ...], check: bool) -> None:
    """Write the CustomResourceDefinitions as one YAML file each."""
    stale = 0
    for folder in folders:
        for name, text in crd_files().items():
            file = folder / name
            if file.exists() and file.read_text() == text:
                continue
            if check:
                click.echo(f"{file} is stale: run `make generate`", err=True)
                stale += 1
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            except OSError as error:
                raise click.ClickException(f"{error.filename}: {error.strerror}") from error
            click.echo(f"wrote {file}")
    if stale:
        raise SystemExit(1)
