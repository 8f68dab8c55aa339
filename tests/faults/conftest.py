import os
from collections.abc import Iterator

import pytest

from tests.controlplane.fixtures import run_control_plane
from tests.controlplane.harness import ControlPlane
from tests.faults.world import MODELS, REGIONS, SYSTEM, World

ALL = os.environ.get("TOMOUL_FAULTS") == "all"
"""Whether plans are to take as long as they may: `make faults`."""


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_control_plane(tmp_path_factory)


@pytest.fixture(scope="package")
def world(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two regions' nodes, a kubelet that runs everything, and no operator yet."""
    for namespace in (SYSTEM, MODELS):
        control_plane.add_namespace(namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tomoul-gateway"}}
    control_plane.api.apply(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/tomoul-gateway", account)
    for region in REGIONS:
        control_plane.add_node(f"node-{region}", {"topology.kubernetes.io/region": region}, {"nvidia.com/gpu": "8"})
    found = World(control_plane, tmp_path_factory.mktemp("faults"))
    with control_plane.run_pods(), found.proxy:
        yield found
