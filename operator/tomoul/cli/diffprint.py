"""A diff as a person reads it: in a terminal, or as a comment of a pull request."""

from collections.abc import Iterator, Sequence

import click

from tomoul.cli.difftext import Line, consequence_line, counted, gpu_totals, lines_of, objects_of, own_routes_of
from tomoul.plan.diff import Action, WorldDiff
from tomoul.plan.effect import HARMLESS, Consequence

_COLORS = {Action.CREATE: "green", Action.CHANGE: "yellow", Action.REMOVE: "red", None: None}
_INDENTATION = ("", "  ", "      ")
_MOST_CHARACTERS = 50_000
"""Of the details in a comment: GitHub takes 65,536 in all, GitLab a million."""


def print_text(diff: WorldDiff, noticed: Sequence[Consequence]) -> None:
    """Print the details, then what is noticed and the totals, which a terminal shows last."""
    if not (diff.changes or noticed):
        click.echo("Nothing to do.")
        return
    first = True
    for level, text, action in lines_of(diff):
        if level == 0 and not first:
            click.echo()
        first = False
        click.secho(f"{_INDENTATION[level]}{text}", fg=_COLORS[action], bold=level == 0)
    if noticed:
        click.secho("\nWhat is noticed", bold=True)
    for each in noticed:
        click.secho(f"  {consequence_line(each)}", fg=None if each.effect in HARMLESS else "yellow")
    click.echo()
    for accelerator, (old, new) in gpu_totals(diff.regions).items():
        click.echo(f"GPUs in all regions, {accelerator}: {old} → {new}")
    for what, changes in (("Objects", objects_of(diff)), ("Routes", own_routes_of(diff))):
        click.echo(f"{what}: {counted(changes)}.")


def markdown(
    diff: WorldDiff | None, noticed: Sequence[Consequence], errors: Sequence[str], warnings: Sequence[str]
) -> str:
    """A comment for a pull request: what is noticed first, the details folded. `diff` is None where none was made."""
    return "\n".join(_markdown(diff, noticed, errors, warnings))


def _markdown(
    diff: WorldDiff | None, noticed: Sequence[Consequence], errors: Sequence[str], warnings: Sequence[str]
) -> Iterator[str]:
    problems = [*(f"error: {each}" for each in errors), *(f"warning: {each}" for each in warnings)]
    changes = diff is not None and (diff.changes or bool(noticed))
    yield "### tomoul plan: " + ("refused" if errors else "changes" if changes else "nothing to do")
    yield ""
    if problems:
        yield from ("```text", *(" ".join(each.splitlines()) for each in problems), "```", "")
    if diff is None or not changes:
        return
    if noticed:
        yield from ("| | what | where | is noticed |", "| --- | --- | --- | --- |")
    for each in noticed:
        mark = "" if each.effect in HARMLESS else "⚠️"
        yield f"| {mark} | `{each.subject}` | {', '.join(each.regions)} | {each.message} |"
    yield ""
    totals = gpu_totals(diff.regions)
    if totals:
        yield from ("| GPUs | before | after |", "| --- | --- | --- |")
        yield from (f"| {name} | {old} | {new} |" for name, (old, new) in totals.items())
        yield ""
    objects, routes = counted(objects_of(diff)), counted(own_routes_of(diff))
    yield f"<details><summary>Objects: {objects}. Routes: {routes}.</summary>"
    yield from ("", "```diff", *_fenced(lines_of(diff)), "```", "</details>")


def _fenced(lines: Iterator[Line]) -> Iterator[str]:
    """Lines whose first character colours them in a block of `diff`."""
    size = 0
    for level, text, action in lines:
        line = (
            f"@@ {text} @@" if level == 0 else text.replace("~", "!", 1) if action else f"{_INDENTATION[level]}{text}"
        )
        size += len(line) + 1
        if size > _MOST_CHARACTERS:
            yield "… and more: `tomoul plan` prints all"
            return
        yield line
