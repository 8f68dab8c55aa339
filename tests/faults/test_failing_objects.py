"""One object that the API server fails to make, or one kind that it does not list, and all others."""

from tests.controlplane import leaderworkersets
from tests.controlplane.api import eventually
from tests.faults.plans import Failing, Unlistable
from tests.faults.proxy import Fault
from tests.faults.world import MADE, MODELS, World, example_model
from tests.integration.operators import children, condition, path

NO_ADDRESS = "failed to allocate IP 10.0.0.1: range is full"


def told(world: World, name: str, region: str) -> tuple[str, str]:
    """Reason and message of WorkloadReady."""
    found = condition(world.api.get(path("ModelDeployment", name, MODELS)), "WorkloadReady", region)
    return found["reason"], found.get("message", "")


def test_an_object_that_the_api_server_fails_to_make_is_told_and_keeps_no_other_from_being_made(world: World) -> None:
    fault = Failing("services", MODELS, NO_ADDRESS)
    with world.running(fault):
        world.apply(example_model("lacking", "eu-west", "us-east"))

        def lacks() -> None:
            for region in ("eu-west", "us-east"):
                reason, message = told(world, "lacking", region)
                assert reason == "ApplyRefused"
                assert "Service `lacking-" in message
                assert NO_ADDRESS in message
            made = children(world.api, "tomoul.ai/model-deployment=lacking", *MADE)
            assert len(made) == 8, "all but the Services"

        eventually(lambda: [lacks()])
        world.proxy.fault = Fault()
        state = world.settles(120)
        assert state["ModelDeployment lacking"]["conditions"]["Ready"][0] == "True"


def test_a_failure_that_passes_at_once_is_not_told(world: World) -> None:
    fault = Failing("services", MODELS, NO_ADDRESS, times=1)
    with world.running(fault):
        item = world.apply(example_model("passing", "eu-west"))
        world.settles()
        assert fault.failed == 1
        events = world.api.get(f"/apis/events.k8s.io/v1/namespaces/{MODELS}/events")["items"]
        about = [each for each in events if each["regarding"]["uid"] == item["metadata"]["uid"]]
        assert "ApplyRefused" not in {each["reason"] for each in about}


def test_a_replica_of_several_pods_whose_kind_may_not_be_listed_is_told_so_and_comes_once_it_may(world: World) -> None:
    world.api.apply(leaderworkersets.PATH, leaderworkersets.CRD)
    try:
        with world.running(Unlistable("leaderworkersets")):
            item = example_model("several", "eu-west", engine={"type": "VLLM"}, capabilities={})
            item["spec"]["source"] = {"file": {"path": "/models/big"}}
            item["spec"]["resources"] = {"accelerator": "nvidia-l4", "nodes": 2}
            world.apply(item)

            def waits() -> None:
                reason, message = told(world, "several", "eu-west")
                assert reason == "ApplyRefused"
                assert "LeaderWorkerSets cannot be listed, so that nothing is made or changed: 403: " in message

            eventually(lambda: [waits()], 60)
            assert not children(world.api, "tomoul.ai/model-deployment=several", *MADE)
            world.proxy.fault = Fault()
            where = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{MODELS}/leaderworkersets"
            eventually(lambda: world.api.get(where)["items"], 60)
            eventually(lambda: told(world, "several", "eu-west")[0] != "ApplyRefused")
    finally:
        world.api.delete(leaderworkersets.PATH)
