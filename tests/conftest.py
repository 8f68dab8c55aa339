import asyncio

import pytest

pytest_plugins = ["tests.controlplane.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden outputs in the place of comparing them")


def pytest_configure() -> None:
    # On Python 3.11 pytest-asyncio asks for the main thread's loop, and so makes one that nobody ever closes; the
    # warning of it ends the run. Once a loop has been set, if to none, none is made.
    asyncio.set_event_loop(None)
