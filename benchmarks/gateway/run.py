"""A whole run: start everything, measure, stop everything."""

import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.gateway.accounting import resident_bytes
from benchmarks.gateway.child import Child, LoadGenerator
from benchmarks.gateway.effort import Effort
from benchmarks.gateway.envoy import Envoy, plain_bootstrap
from benchmarks.gateway.gateway import Gateway, model_ids
from benchmarks.gateway.goals import goals
from benchmarks.gateway.measure import DIRECT, PLAIN, Subject, measure
from benchmarks.gateway.peers import PEERS, installed_peers, start_peer
from benchmarks.gateway.summary import figures
from benchmarks.gateway.table import markdown
from benchmarks.gateway.updates import streams_under_updates, time_changes

_FEW_MODELS = 5
_MB = 1024 * 1024


async def run(effort: Effort, tell: Callable[[str], None]) -> tuple[dict[str, Any], str]:
    """The report as data and as Markdown."""
    begin, machine = perf_counter(), _machine()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp")))
        engine = await stack.enter_async_context(Child("upstream"))
        ports = (await engine.receive())["ports"]
        load = await stack.enter_async_context(LoadGenerator())
        tell("starting")
        plain = Envoy("plain", plain_bootstrap(ports[0], folder), folder)
        stack.callback(plain.stop)
        few = await stack.enter_async_context(Gateway(_FEW_MODELS, ports, folder))
        started = perf_counter()
        many = await stack.enter_async_context(Gateway(effort.many_models, ports, folder))
        updates: dict[str, Any] = {
            "models": effort.many_models,
            "first_ms": (perf_counter() - started) * 1000,
            "resident_mb": many.resident_bytes / _MB,
            "few_mb": few.resident_bytes / _MB,
            "plain_mb": resident_bytes(plain.pid) / _MB,
        }
        names = model_ids(_FEW_MODELS)
        subjects = [
            Subject(DIRECT, ports[0], [], names),
            Subject(PLAIN, await plain.port("plain"), [plain.pid], names),
            Subject(few.name, few.port, [few.envoy.pid], names),
            # As many models are called as there, from all of the table: what differs is the table's length.
            Subject(many.name, many.port, [many.envoy.pid], many.models[:: len(many.models) // _FEW_MODELS]),
        ]
        peers, left_out = [], dict.fromkeys(PEERS, "not installed" if effort.peers else "not in a quick run")
        for name in installed_peers() if effort.peers else ():
            try:
                peer = await start_peer(name, ports[0], _FEW_MODELS, folder)
            except TimeoutError as error:
                left_out[name] = "does not start"
                tell(str(error))
                continue
            del left_out[name]
            stack.callback(peer.stop)
            peers.append(name)
            subjects.append(Subject(name, peer.port, peer.pids, names, is_peer=True))
        samples = await measure(subjects, load, effort, tell)
        tell("changes")
        updates |= await time_changes(many, effort)
        tell("updates under streams")
        updates["streams"] = asdict(await streams_under_updates(many, load, effort))
        updates["resident_after_updates_mb"] = many.resident_bytes / _MB
    summary = figures(samples)
    found = goals(summary, updates, few.name, many.name, peers)
    if left_out:
        machine += f" Left out: {', '.join(f'{name} ({reason})' for name, reason in left_out.items())}."
    machine += f" The run took {perf_counter() - begin:.0f} s."
    report = {
        "machine": machine,
        "effort": asdict(effort),
        "goals": [asdict(goal) | {"met": goal.met} for goal in found],
        "figures": [asdict(each) for each in summary],
        "updates": updates,
        "left_out": left_out,
    }
    return report, markdown(machine, summary, updates, found)


def _machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {memory:.0f} GB, {platform.machine()}, "
        f"load before the run {os.getloadavg()[0]:.2f} (last minute)."
    )
