"""What `tomoul local` shows in the terminal: progress, the walk as a table, and what to paste."""

import asyncio
import importlib
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tomoul.api.routingtable import GatewayAuth
from tomoul.local.cast import choose_cast
from tomoul.local.local_platform import LocalPlatform
from tomoul.local.options import LocalError, LocalOptions

DEMO_SECONDS = 120.0
"""The tiny models of a demo are ready by then; of others nobody knows how long they take."""
REFRESH_SECONDS = 0.05
LONGEST_CELL = 110
CAPTION = "The tiny model's weights are random, so its words mean nothing. All else is real."

PASTE = """\
Endpoint   {url}/v1   ({regions})

  curl -s {url}/v1/chat/completions -H 'content-type: application/json' -H 'x-tomoul-region: {region}' \\
    {curl_key}-d '{{"model": "{model}", "max_tokens": 40, "messages": [{{"role": "user", "content": "Hello"}}]}}'

  {imports}from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key={sdk_key})
  answer = client.chat.completions.create(
      model="{model}",
      messages=[{{"role": "user", "content": "Hello"}}],
      max_tokens=40,
      extra_headers={{"X-Tomoul-Region": "{region}"}},
  )
  print(answer.choices[0].message.content)
"""


async def run_local(paths: Sequence[Path], options: LocalOptions, demo: bool) -> bool:
    """Serve `paths` until SIGINT or SIGTERM; with `demo`, walk first, and without a terminal end after that.

    Returns whether every step showed what it should, which is false if the walk was stopped. Raises LocalError and
    InvalidFilesError.
    """
    console = Console()
    # A log keeps whole lines, and no terminal's width is to be guessed there.
    if not console.is_terminal:
        console = Console(width=160)
    serving = asyncio.current_task()
    assert serving is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    # A demo that is stopped has shown nothing until its walk is complete.
    walked, passed = not demo, not demo
    try:
        async with LocalPlatform(paths, options, lambda message: console.print(message, markup=False)) as platform:
            # The SDK is slow to import; meanwhile the processes start.
            importing = asyncio.to_thread(importlib.import_module, "tomoul.local.walk") if demo else asyncio.sleep(0)
            await asyncio.gather(_set_up(console, platform, DEMO_SECONDS if demo else None), importing)
            if demo:
                passed = await _show_walk(console, platform)
                walked = True
            _show_how_to_call(console, platform, options.auth)
            if demo and (not console.is_terminal or os.environ.get("CI") == "true"):
                console.print("Ended with the walk. In a terminal it goes on serving until Ctrl-C.")
                return passed
            console.print("Ctrl-C ends it.")
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.print("Stopped." if walked else "Stopped before the walk was complete.")
    return passed


async def _set_up(console: Console, platform: LocalPlatform, seconds: float | None) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting engines and gateways", total=platform.wanted)
        waiting = asyncio.create_task(platform.ready(seconds))
        while not waiting.done():
            progress.update(bar, completed=platform.count_ready(), total=platform.wanted)
            await asyncio.wait({waiting}, timeout=REFRESH_SECONDS)
        progress.update(bar, completed=platform.count_ready(), total=platform.wanted)
        await waiting


async def _show_walk(console: Console, platform: LocalPlatform) -> bool:
    from tomoul.local.walk import walk

    replicas = Counter((command.model, command.region) for command in platform.engines if not command.no_store)
    cast = choose_cast(platform.tables, replicas)
    if cast is None:
        raise LocalError(
            "the walk needs a model with tools, structuredOutput and `cache.noStore: NotStored`, "
            "with one replica in some region; leave out --demo to serve without it"
        )
    table = Table(title="A walk through the contract", caption=CAPTION, title_justify="left", caption_justify="left")
    for name in ("step", "what was sent", "what came back", "region", ""):
        table.add_column(name, overflow="fold")
    passed = True
    with Live(table, console=console, refresh_per_second=20):
        async for result in walk(platform.url, cast):
            passed = passed and result.passed
            mark = Text("✓", "green") if result.passed else Text("✗", "bold red")
            seen = result.seen.summary if not result.passed else _shortened(result.seen.summary)
            table.add_row(result.step.title, Text(result.step.sent), Text(seen), result.seen.region, mark)
    console.print()
    if not passed:
        platform.keep_folder = True
        console.print(f"A step did not show what it should. Logs are in {platform.folder}", style="bold red")
    return passed


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def _show_how_to_call(console: Console, platform: LocalPlatform, auth: GatewayAuth) -> None:
    regions = ", ".join(f"{region}: {gateway.url}" for region, gateway in platform.gateways.items())
    route = next((route for table in platform.tables.values() for route in table.spec.models if route.regions), None)
    if route is None:
        console.print(f"Endpoint   {platform.url}/v1   ({regions}); no model is served yet", markup=False)
        return
    keys = {"curl_key": "", "imports": "", "sdk_key": '"none"'}
    if auth is GatewayAuth.REQUIRED:
        console.print("KEY is one of a Tenant's keys, from the Secret beside it:  export KEY=sk-…\n", markup=False)
        keys = {
            "curl_key": '-H "authorization: Bearer $KEY" ',
            "imports": "import os\n  ",
            "sdk_key": 'os.environ["KEY"]',
        }
    text = PASTE.format(url=platform.url, regions=regions, model=route.id, region=route.regions[0], **keys)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
