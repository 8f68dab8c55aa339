from collections.abc import Iterator

import pytest

from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane
from tests.integration.cluster import Cluster, example, running_cluster


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory)


@pytest.fixture(scope="package")
def examples(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the examples applied, which the folder's tests share."""
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator")) as cluster:
        for name in ("tiny-chat", "tiny-solo"):
            cluster.apply(example(name))
        yield cluster
