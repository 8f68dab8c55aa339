"""pytest fixtures: one control plane per worker process, one namespace per test."""

import itertools
import os
from collections.abc import Iterator, Sequence

import pytest

from tests.controlplane.harness import ControlPlane
from tests.controlplane.programs import MissingProgramError, program

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane with the CRDs installed. Tests share it: use names of your own, and `namespace`."""
    yield from run_control_plane(tmp_path_factory)


def run_control_plane(
    tmp_path_factory: pytest.TempPathFactory, apiserver_flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """For a fixture `control_plane` of a folder whose tests stop the API server, which the others must not notice."""
    try:
        program("kube-scheduler")
    except MissingProgramError as error:
        pytest.fail(str(error), pytrace=False)
    with ControlPlane(tmp_path_factory.mktemp("controlplane"), apiserver_flags) as started:
        yield started


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace, deleted (not waited for) afterwards."""
    name = f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{next(_numbers)}"
    control_plane.add_namespace(name)
    yield name
    control_plane.api.delete(f"/api/v1/namespaces/{name}")
