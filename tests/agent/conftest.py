from collections.abc import Iterator

import pytest

from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory)
