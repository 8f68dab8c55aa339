from collections.abc import Iterator

import pytest

from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane
from tests.prober.world import Platform


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory)


@pytest.fixture(scope="package")
def platform(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(control_plane, tmp_path_factory.mktemp("platform")).running() as running:
        yield running
