"""The command `tomoul`; each subcommand lives in a module of its own and is imported only when it is called."""

import codecs
import importlib
import io
import sys
from collections.abc import Mapping

import click

from tomoul import __version__

SUBCOMMANDS: Mapping[str, tuple[str, str]] = {
    "plan": ("tomoul.cli.plan", "Print what the resources in FILES would create, change and remove."),
    "local": ("tomoul.cli.local", "Serve the resources in FILES on this machine, with processes in the place of pods."),
    "operator": ("tomoul.cli.operator", "Run the operator."),
    "agent": ("tomoul.cli.agent", "Run the agent beside a gateway's Envoy."),
    "load": ("tomoul.cli.load", "Bring a model's weights to a folder, for the engine beside it."),
    "crds": ("tomoul.cli.crds", "Write the CustomResourceDefinitions."),
}
"""Module and summary by name. Each module has a click command named `command`."""


# A mistake in the command's own arguments. click's 2 means changes to who runs `tomoul plan`.
click.UsageError.exit_code = 1


class LazyGroup(click.Group):
    """Subcommands are imported when called: `tomoul plan` needs none of the libraries of the operator."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that is called, with its arguments."""
        if args[0] not in SUBCOMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"no such command `{args[0]}`; use one of: {', '.join(SUBCOMMANDS)}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all subcommands, in the order in which people meet them."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand `cmd_name`, imported now, or None."""
        if cmd_name not in SUBCOMMANDS:
            return None
        command = importlib.import_module(SUBCOMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in SUBCOMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="tomoul")
def main() -> None:
    """Tomoul: an OpenAI-compatible chat endpoint in several regions, as Kubernetes resources."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A machine whose locale says nothing says ASCII, and its terminals show UTF-8; others show what they can.
            ascii_alone = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_alone else None, errors="replace")
