"""Replicas: the engines that run, each a process with a port of its own."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tomoul.gateway.compile.resources import Endpoint, PoolKey
from tomoul.local.engines import EngineCommand
from tomoul.local.probe import responds
from tomoul.local.process import Process


@dataclass(eq=False)
class Engine:
    """A running replica."""

    command: EngineCommand
    process: Process
    port: int = 0
    """Where it listens; another at each start."""


def new_engine(
    command: EngineCommand, folder: Path, group: int, unused_port: Callable[[], int], changed: Callable[[], None]
) -> Engine:
    """An engine that is still to be run, in a process group; its log is in `folder`."""

    def argv() -> list[str]:
        engine.port = unused_port()
        return command.argv(engine.port)

    log = folder / f"{command.name}.log"
    environment = dict(command.environment)
    process = Process(command.name, argv, lambda: responds(engine.port, "/health"), changed, log, group, environment)
    engine = Engine(command, process)
    return engine


def obsolete_engines(running: Mapping[EngineCommand, Engine], wanted: Collection[EngineCommand]) -> list[Engine]:
    """Engines that should not run and that nobody waits for: in their pool, all that should run is ready."""
    waiting = {command.pool for command in wanted if not running[command].process.ready}
    return [engine for command, engine in running.items() if command not in wanted and command.pool not in waiting]


def ready_endpoints(engines: Iterable[Engine]) -> Mapping[PoolKey, list[Endpoint]]:
    """Where those of them that are ready listen, by pool."""
    found: dict[PoolKey, list[Endpoint]] = {}
    for engine in engines:
        if engine.process.ready:
            found.setdefault(engine.command.pool, []).append(Endpoint("127.0.0.1", engine.port))
    return found
