from collections.abc import Iterator

import pytest

from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane
from tests.observability.dashboards import without_patience
from tests.observability.programs import MissingProgramError, program
from tests.observability.prometheus import Prometheus
from tests.observability.world import World


@pytest.fixture(scope="package")
def observed_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory)


@pytest.fixture(scope="package")
def world(observed_control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(observed_control_plane, tmp_path_factory.mktemp("world")) as world:
        world.run_traffic()
        yield world


@pytest.fixture(scope="package")
def prometheus(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scrapes the world; its alerts fire at once."""
    try:
        program("prometheus")
    except MissingProgramError as error:
        pytest.fail(str(error), pytrace=False)
    with Prometheus(tmp_path_factory.mktemp("prometheus"), world.targets(), without_patience()) as prometheus:
        yield prometheus
