"""Alerts that fire by the fault that they tell of. The last file of the folder: its faults end the world.

The rules are the chart's, without the time for which an expression has to hold.
"""

from tests.controlplane.api import eventually
from tests.observability.prometheus import Prometheus
from tests.observability.world import World


def test_faults_fire_their_alerts_and_no_others(world: World, prometheus: Prometheus) -> None:
    def fires(*names: str) -> None:
        eventually(lambda: set(names) <= prometheus.firing().keys(), 40, f"{names} among {prometheus.firing().keys()}")

    # From the start there is a model that wants more GPUs than there are, one that a quota refuses, and calls for both.
    unwell = {
        "TomoulModelNotReady", "TomoulModelsWaitForGpus", "TomoulCallsFail", "TomoulNoCapacity", "TomoulNoStoreRefused",
    }  # fmt: skip
    fires(*unwell)
    assert prometheus.firing().keys() <= unwell | {"TomoulKeyKeepsFailing"}
    waiting = {(found["object_namespace"], found["object"]) for found in prometheus.firing()["TomoulModelNotReady"]}
    assert waiting == {("models", "huge"), ("strict", "refused")}

    world.kill_gateway("us-east")
    fires("TomoulNoLiveGateway", "TomoulGatewayWithoutEnvoy", "TomoulRegionNotReady")
    assert [found["region"] for found in prometheus.firing()["TomoulNoLiveGateway"]] == ["us-east"]

    assert "TomoulNoLeader" not in prometheus.firing()
    world.operator.stop()
    fires("TomoulNoLeader")
