from collections.abc import Iterator

import pytest

from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane
from tests.privilege.recorder import Recorder

# Off by default, but OpenShift's: who sets an owner reference that blocks the owner's deletion needs a right for that.
OWNERS = "--enable-admission-plugins=PodSecurity,OwnerReferencesPermissionEnforcement"


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    with Recorder(tmp_path_factory.mktemp("recorder")) as started:
        yield started


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory, recorder: Recorder) -> Iterator[ControlPlane]:
    """A control plane that tells the recorder of every request."""
    yield from run_control_plane(tmp_path_factory, (*recorder.flags, OWNERS))
