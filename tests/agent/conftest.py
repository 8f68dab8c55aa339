import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.agent.envoy import running_envoy, short_folder
from tests.agent.world import TABLES, Cluster, Gateway
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


@pytest.fixture
async def gateway(cluster: Cluster) -> AsyncIterator[Gateway]:
    with short_folder() as folder:
        gateway = Gateway(folder, cluster.region)
        async with running_envoy(gateway.envoy):
            yield gateway
