"""The fake engine and the load generator as processes, and jobs for the latter."""

import asyncio
import json
import sys
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from benchmarks.gateway.load import Job, Outcome


class Child:
    """`python -m benchmarks.gateway.<module>`, which talks in lines of JSON and ends when its input ends."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"benchmarks.gateway.{self._module}", stdin=pipe, stdout=pipe
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever it is doing."""
        assert self._process
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def receive(self) -> dict[str, Any]:
        """Its next line. Raises ChildProcessError if there is none."""
        assert self._process
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the {self._module} has ended; what is above says why")
        received: dict[str, Any] = json.loads(line)
        return received

    async def send(self, line: str) -> None:
        """Tell it a line."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()


class LoadGenerator(Child):
    """Runs jobs, one at a time."""

    def __init__(self) -> None:
        super().__init__("load")

    async def run(self, job: Job) -> Outcome:
        """The outcome of a job that ends by itself."""
        await self.send(json.dumps(asdict(job)))
        return Outcome(**await self.receive())

    async def begin(self, job: Job) -> None:
        """Start a job that goes on until `end`."""
        await self.send(json.dumps(asdict(job)))

    async def end(self) -> Outcome:
        """What came of the job that `begin` started, once its last answers are whole."""
        await self.send("end")
        return Outcome(**await self.receive())
