"""`python -m tomoul.cli.enginetype FILE`: write what the API must know of engines; a part of `make generate`."""

from pathlib import Path

import click

from tomoul.plan.engines.enginetype import engine_type_module
from tomoul.plan.engines.registry import ENGINES


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def command(file: Path) -> None:
    """Write FILE, unless it is as it should be."""
    text = engine_type_module(ENGINES.values())
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
        click.echo(f"wrote {file}")


if __name__ == "__main__":
    command()
