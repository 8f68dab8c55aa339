"""A platform on one machine: the same plan and the same gateways as in a cluster, with processes in the place of pods.

Level-triggered like the operator: files → World → plan → the processes that should run. Whatever changes, the whole is
looked at again, and only what differs is started or stopped.
"""

import asyncio
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from tomoul.api.routingtable import RemoteGateway, RoutingTable
from tomoul.gateway.filter.build import BuildError
from tomoul.local.desired import Desired, InvalidFilesError, desired_state
from tomoul.local.engines import EngineCommand
from tomoul.local.files import socket_folder, watches
from tomoul.local.gateway import Gateway, filter_modules
from tomoul.local.guard import ProcessGroup
from tomoul.local.options import DEFAULT_PORT, LocalError, LocalOptions
from tomoul.local.probe import free_port, reserve
from tomoul.local.process import Process
from tomoul.local.replicas import Engine, new_engine, obsolete_engines, ready_endpoints
from tomoul.local.tasks import Tasks
from tomoul.local.teller import Teller

HOPELESS_STARTS = 3
"""A program that never became ready in so many starts is reported."""
OTHER_FOLDERS = "XDG_CACHE_HOME names another folder for what is made once, TMPDIR one for logs and sockets"


class LocalPlatform:
    """Serves the resources in `paths` while it is entered."""

    def __init__(
        self, paths: Sequence[Path], options: LocalOptions | None = None, report: Callable[[str], None] = print
    ) -> None:
        """`report` gets a sentence for each thing that a person should know."""
        self.engines: dict[EngineCommand, Engine] = {}
        self.gateways: dict[str, Gateway] = {}
        """By region, in the order of the files."""
        self.folder = Path()
        """Logs and sockets of this run."""
        self.keep_folder = False
        """Whether it stays after the end, since a message has named it."""
        self._paths = tuple(paths)
        self._options = options or LocalOptions()
        self._report = report
        self._teller = Teller(report)
        self._desired = Desired((), {}, ())
        self._salt_key = secrets.token_bytes(32)
        self._tasks: dict[Engine | Gateway, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._looked = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "LocalPlatform":
        """Start everything; `ready` waits for it. Raises LocalError and InvalidFilesError."""
        try:
            self._desired = await asyncio.to_thread(self._read)
            self._modules = await filter_modules(self._report)
            self.folder = socket_folder()
        except BuildError as error:
            raise LocalError(str(error)) from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            words = error.strerror or f"{error}: is the disk full?"
            raise LocalError(f"{where}{words}; {OTHER_FOLDERS}") from error
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self._tidy)
            self._port, reservation = self._choose_port()
            if reservation is not None:
                stack.enter_context(reservation)
            self._group = stack.enter_context(ProcessGroup()).id
            self._running = await stack.enter_async_context(Tasks())
            work = [self._keep(), *(self._watch(each) for each in watches(self._paths))]
            background = [self._running.create_task(each) for each in work]
            stack.callback(lambda: [task.cancel() for task in (*background, *self._tasks.values())])
            self._stack = stack.pop_all()
        self._changed.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop everything."""
        return await self._stack.__aexit__(kind, error, trace)

    @property
    def settled(self) -> bool:
        """Whether all that should run is ready, and served by all gateways."""
        return (
            not self._changed.is_set()
            and self.engines.keys() == set(self._desired.engines)
            and all(engine.process.ready for engine in self.engines.values())
            and self.gateways.keys() == self._desired.tables.keys()
            and all(gateway.ready for gateway in self.gateways.values())
        )

    @property
    def tables(self) -> Mapping[str, RoutingTable]:
        """What should be served, by region, in the order of the files."""
        return self._desired.tables

    @property
    def url(self) -> str:
        """Address of the first region's gateway, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def wanted(self) -> int:
        """How many engines and gateways there should be."""
        return len(self._desired.engines) + len(self._desired.tables)

    def count_ready(self) -> int:
        """How many of them are ready."""
        engines = sum(self.engines[each].process.ready for each in self._desired.engines if each in self.engines)
        return engines + sum(gateway.ready for gateway in self.gateways.values())

    async def ready(self, seconds: float | None) -> None:
        """Wait until everything is. Raises LocalError if something cannot become so, or after `seconds`, if given."""
        try:
            async with asyncio.timeout(seconds):
                while not self.settled:
                    self._raise_if_hopeless()
                    await self._looked.wait()
        except LocalError:
            self.keep_folder = True
            raise
        except TimeoutError:
            self.keep_folder = True
            late = [each.name for each in self._processes() if not each.ready] or ["a gateway's configuration"]
            raise LocalError(f"not ready after {seconds:.0f} s: {', '.join(late)}; logs are in {self.folder}") from None

    def _raise_if_hopeless(self) -> None:
        for process in self._processes():
            if process.starts > HOPELESS_STARTS and not process.was_ready:
                head = f"{process.name} does not start; its log {process.log} ends:"
                raise LocalError("\n".join((head, *process.last_words(3))))
        for gateway in self.gateways.values():
            if gateway.refusal:
                raise LocalError(f"the Envoy of {gateway.region} refuses its configuration: {gateway.refusal}")

    def _processes(self) -> list[Process]:
        engines = [engine.process for engine in self.engines.values()]
        return [*engines, *(gateway.envoy for gateway in self.gateways.values())]

    def _choose_port(self) -> tuple[int, socket.socket | None]:
        """The port of the first region's gateway, and what keeps others from it."""
        wanted = DEFAULT_PORT if self._options.port is None else self._options.port
        if wanted == 0:
            return free_port(), None
        try:
            return wanted, reserve(wanted)
        except OSError as error:
            why = f"port {wanted} is {'for root alone' if isinstance(error, PermissionError) else 'taken'}"
        if self._options.port is not None:
            raise LocalError(f"{why}; choose another with --port, or --port 0 for any")
        other = free_port()
        self._report(f"{why}: serving on {other}")
        return other, None

    def _read(self) -> Desired:
        return desired_state(self._paths, self._options.models, self._options.auth)

    async def _watch(self, changes: AsyncIterator[None]) -> None:
        async for _ in changes:
            try:
                desired = await asyncio.to_thread(self._read)
            except (InvalidFilesError, OSError) as error:
                self._report(f"The files have errors; what ran before goes on:\n{error}")
                continue
            if desired != self._desired:
                self._desired = desired
                self._report("The files have changed; adapting")
                self._changed.set()

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._teller.tell_messages(self._desired.messages)
            self._teller.tell_ends(self._processes())
            self._arrange_gateways()
            self._start_engines()
            obsolete = obsolete_engines(self.engines, self._desired.engines)
            self._publish(obsolete)
            for engine in obsolete:
                del self.engines[engine.command]
                self._tasks.pop(engine).cancel()
            self._looked.set()
            self._looked = asyncio.Event()

    def _arrange_gateways(self) -> None:
        """One for each region, the first region's on the chosen port."""
        arranged: dict[str, Gateway] = {}
        for position, region in enumerate(self._desired.tables):
            gateway = self.gateways.get(region)
            if gateway is None or (gateway.port == self._port) != (position == 0):
                port = self._port if position == 0 else self._unused_port()
                gateway = Gateway(
                    region, port, self._salt_key, self.folder, self._group, self._changed.set, self._modules
                )
                self._tasks[gateway] = self._running.create_task(gateway.run())
            arranged[region] = gateway
        for gateway in set(self.gateways.values()) - set(arranged.values()):
            self._tasks.pop(gateway).cancel()
        self.gateways = arranged

    def _start_engines(self) -> None:
        for command in self._desired.engines:
            if command not in self.engines:
                self.engines[command] = engine = new_engine(
                    command, self.folder, self._group, self._unused_port, self._changed.set
                )
                self._tasks[engine] = self._running.create_task(engine.process.run())

    def _unused_port(self) -> int:
        """A free port that no other process here was told, who may not listen on it yet."""
        engines, gateways = self.engines.values(), self.gateways.values()
        told = {self._port, *(engine.port for engine in engines), *(gateway.port for gateway in gateways)}
        while (port := free_port()) in told:
            pass
        return port

    def _publish(self, without: Sequence[Engine]) -> None:
        endpoints = ready_endpoints(each for each in self.engines.values() if each not in without)
        for region, gateway in self.gateways.items():
            others = tuple(
                RemoteGateway(region=other.region, url=other.url)
                for other in self.gateways.values()
                if other is not gateway
            )
            table = self._desired.tables[region]
            spec = table.spec.model_copy(update={"remote_gateways": others})
            gateway.publish(table.model_copy(update={"spec": spec}), endpoints, self._desired.tenants)

    async def _tidy(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove logs and sockets, unless somebody may want to read why it failed."""
        if isinstance(error, Exception) and not isinstance(error, LocalError):
            error.add_note(f"logs are in {self.folder}")
        elif not self.keep_folder:
            await asyncio.to_thread(shutil.rmtree, self.folder)
