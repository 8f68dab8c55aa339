import contextlib
from collections.abc import Iterator

import pytest

from tests.agent.world import TABLES, Cluster
from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory)


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str):
    cluster = Cluster(control_plane, namespace)
    yield cluster
    with contextlib.suppress(Exception):
        control_plane.api.delete(f"{TABLES}/{cluster.region}")
