"""What is deleted leaves nothing behind: while it is made, with its namespace, and where its name is used again."""

from tests.controlplane.api import Object, eventually
from tests.faults.call import Call
from tests.faults.conftest import ALL
from tests.faults.proxy import Answer, Fault
from tests.faults.world import MADE, MODELS, World, example_model
from tests.integration.operators import children, path

MODELS_OF_IT = 50 if ALL else 5
"""ModelDeployments in the namespace that is deleted."""


def owners(world: World, selector: str) -> list[str]:
    """uids of the owners of all that the operator has made."""
    made = children(world.api, selector, *MADE)
    return [owner["uid"] for item in made for owner in item["metadata"]["ownerReferences"]]


class OnCreation(Fault):
    """Something happens just after the first object of a kind was created, before the operator hears of it."""

    def __init__(self, resource: str, delete: str, world: World) -> None:
        self._resource, self._delete, self._world = resource, delete, world
        self.done = False

    def after(self, call: Call, answer: Answer) -> Answer:
        if call.resource == self._resource and answer.status == 201 and call.namespace == MODELS and not self.done:
            self.done = True
            self._world.delete("ModelDeployment", self._delete)
            self._world.api.close()  # this thread's connection
        return answer


def test_a_model_that_is_deleted_while_it_is_made_leaves_nothing_behind(world: World) -> None:
    for resource in ("serviceaccounts", "services", "deployments") if ALL else ("services",):
        fault = OnCreation(resource, "brief", world)
        with world.running(fault):
            world.apply(example_model("brief", "eu-west", "us-east"))
            eventually(lambda fault=fault: fault.done, 60)
            eventually(lambda: not owners(world, "tomoul.ai/model-deployment=brief"), 30)
            eventually(lambda: not world.api.get(path("RoutingTable", "eu-west"))["spec"].get("models"))


def test_a_model_whose_name_is_used_again_at_once_gets_children_of_its_own(world: World) -> None:
    with world.running():
        world.apply(example_model("again", "eu-west", "us-east"))
        before = world.settles()
        for _ in range(3):
            world.delete("ModelDeployment", "again")
            uid = world.apply(example_model("again", "eu-west", "us-east"))["metadata"]["uid"]

        def fresh() -> bool:
            found = owners(world, "tomoul.ai/model-deployment=again")
            assert set(found) == {uid}
            return len(found) == 10

        eventually(fresh, 60)
        world.becomes(before)


def test_a_region_whose_name_is_used_again_at_once_gets_gateways_and_a_table_of_its_own(world: World) -> None:
    with world.running():
        world.apply(example_model("stays", "eu-west"))
        before = world.settles()
        world.delete("Region", "eu-west")
        uid = world.apply(world.region("eu-west"))["metadata"]["uid"]

        def fresh() -> bool:
            table: Object = world.api.get(path("RoutingTable", "eu-west"))
            found = owners(world, "app.kubernetes.io/component=gateway,tomoul.ai/region=eu-west")
            assert set(found) == {uid}
            return bool(table["metadata"]["ownerReferences"][0]["uid"] == uid)

        eventually(fresh, 60)
        world.becomes(before)


def test_a_namespace_goes_with_all_that_is_in_it_whether_an_operator_runs_or_not(world: World) -> None:
    def fill() -> None:
        world.control_plane.add_namespace("faults-doomed")
        for number in range(MODELS_OF_IT):
            item = example_model(f"doomed-{number}", "eu-west")
            item["metadata"]["namespace"] = "faults-doomed"
            world.apply(item)
        eventually(lambda: len(owners(world, "app.kubernetes.io/component=engine")) == 5 * MODELS_OF_IT, 60)
        eventually(lambda: len(routed()) == MODELS_OF_IT)

    def routed() -> list[str]:
        spec = world.api.get(path("RoutingTable", "eu-west"))["spec"]
        return [route["id"] for route in spec.get("models", ())]

    def is_gone() -> bool:
        return world.api.gone("/api/v1/namespaces/faults-doomed")

    with world.running():
        fill()
        world.api.delete("/api/v1/namespaces/faults-doomed")
        eventually(lambda: is_gone() and not routed(), 60)
        fill()
        with world.without_operators():
            world.api.delete("/api/v1/namespaces/faults-doomed")
            eventually(is_gone, 60)
            assert len(routed()) == MODELS_OF_IT, "nobody is there to withdraw them"
        eventually(lambda: not routed(), 60)
        assert not owners(world, "app.kubernetes.io/component=engine")
