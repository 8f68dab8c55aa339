"""A node is lost with all pods on it: its region says so and is served by nobody; the other one notices nothing."""

from tests.controlplane.api import Object, eventually
from tests.faults.state import State
from tests.faults.world import MODELS, SYSTEM, World, example_model
from tests.integration.operators import condition, path

NODE = "node-us-east"
SELECTOR = "tomoul.ai/region=us-east"
CAPACITY = {"nvidia.com/gpu": "8"}


def test_a_lost_node_takes_its_region_out_of_service_and_no_other_and_gives_it_back(world: World) -> None:
    def row(region: str, kind: str) -> Object:
        return condition(world.api.get(path("ModelDeployment", "both", MODELS)), kind, region)

    def told() -> None:
        found = row("us-east", "WorkloadReady")
        assert (found["status"], found["reason"]) == ("False", "NodeNotReady")
        assert NODE in row("us-east", "WorkloadReady")["message"]
        region = world.api.get(path("Region", "us-east"))
        assert condition(region, "Ready")["reason"] == "NodeNotReady"

    def unschedulable() -> None:
        assert row("us-east", "Scheduled")["reason"] == "Unschedulable"
        assert condition(world.api.get(path("Region", "us-east")), "GatewaysReady")["reason"] == "Unschedulable"

    with world.running():
        world.apply(example_model("both", "eu-west", "us-east"))
        before = world.settles()
        assert len(endpoints(world)) == 1
        west = of_west(before)
        lose(world)
        eventually(lambda: [told()], 30)
        eventually(lambda: not endpoints(world), 30)
        assert of_west(world.state()) == west
        # What Kubernetes does five minutes later, or somebody who gives the node up.
        world.api.delete(f"/api/v1/nodes/{NODE}")
        for pod in pods(world):
            where = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            world.api.delete(where, {"gracePeriodSeconds": 0})
        eventually(lambda: [unschedulable()], 30)
        assert not endpoints(world)
        assert of_west(world.state()) == west
        world.control_plane.add_node(NODE, {"topology.kubernetes.io/region": "us-east"}, CAPACITY)
        world.becomes(before)
        eventually(lambda: len(endpoints(world)) == 1)
        assert world.ended == []


def lose(world: World) -> None:
    """As the node lifecycle controller writes it when a kubelet falls silent."""
    unknown = {"status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
    world.api.patch(f"/api/v1/nodes/{NODE}/status", {"status": {"conditions": [{"type": "Ready", **unknown}]}})
    for pod in pods(world):
        metadata, conditions = pod["metadata"], pod["status"]["conditions"]
        for entry in conditions:
            if entry["type"] == "Ready":
                entry["status"] = "False"
        where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        world.api.patch(where, {"status": {"conditions": conditions}})


def pods(world: World) -> list[Object]:
    found = [world.api.get(f"/api/v1/namespaces/{name}/pods", labelSelector=SELECTOR) for name in (SYSTEM, MODELS)]
    return [pod for each in found for pod in each["items"] if pod["spec"].get("nodeName") == NODE]


def endpoints(world: World) -> list[Object]:
    """Endpoints of us-east's engines that gateways would call."""
    where = f"/apis/discovery.k8s.io/v1/namespaces/{MODELS}/endpointslices"
    slices = world.api.get(where, labelSelector=SELECTOR)["items"]
    return [each for item in slices for each in item.get("endpoints") or () if each["conditions"].get("ready")]


def of_west(state: State) -> State:
    """What there is of eu-west, and the model's row for it."""
    found = {key: value for key, value in state.items() if "eu-west" in key and not key.startswith("RoutingTable")}
    (model,) = [value for key, value in state.items() if key.startswith("ModelDeployment")]
    table = state["RoutingTable eu-west"]["models"]
    return {**found, "row": model["rows"]["eu-west"], "routes": [(route["id"], route["pools"]) for route in table]}
