"""A task group for a context manager: errors of its body are not its own."""

import asyncio
from types import TracebackType


class Tasks(asyncio.TaskGroup):
    """A task group that raises what its own tasks raise; an error of the body passes as it is, not in a group."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):  # perhaps because a task has failed
            await super().__aexit__(kind, error, trace)
        else:
            await super().__aexit__(None, None, None)
