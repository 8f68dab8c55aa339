import asyncio
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.controlplane.fixtures"]

# Folders whose tests share something that is slow to start, the slowest first: a folder runs in one worker, and what is
# left for the end should be short.
SLOW_FOLDERS = (
    "integration",
    "faults",
    "prober",
    "gateway",
    "truth",
    "agent",
    "contract",
    "gitops",
    "observability",
    "local",
    "clients",
    "privilege",
    "chart",
    "api",
    "plan",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden outputs in the place of comparing them")


def pytest_configure() -> None:
    # On Python 3.11 pytest-asyncio asks for the main thread's loop, and so makes one that nobody ever closes; the
    # warning of it ends the run. Once a loop has been set, if to none, none is made.
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(_folder(item.nodeid)))


# xdist's own `--dist loadgroup` writes group names into ids, which pytest 9.2 does not let it do any more.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return FolderScheduling(config, log)


class FolderScheduling(LoadScopeScheduling):
    """All tests of a folder run in one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return _folder(nodeid)


def _folder(nodeid: str) -> str:
    return nodeid.split("/")[1]


def _rank(folder: str) -> int:
    return SLOW_FOLDERS.index(folder) if folder in SLOW_FOLDERS else len(SLOW_FOLDERS)
