"""An operator whose watches have ended ends too, loudly, and another one goes on at once."""

import signal
import time

from tests.controlplane.api import eventually
from tests.faults.call import Call
from tests.faults.proxy import Answer, Event, Fault, Proxy, refusal
from tests.faults.world import MODELS, World, example_model
from tests.integration.operators import condition, path


class Broken(Fault):
    """Once armed, a watch of `resource` has to list anew, and there is no such kind: kopf knows no way around that."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self.armed = False
        self.told = False

    def before(self, call: Call) -> Answer | None:
        gone = self.told and call.verb == "list" and call.resource == self._resource
        return refusal(404, "NotFound") if gone else None

    def event(self, call: Call, event: Event) -> Event:
        if not self.armed or self.told or call.resource != self._resource:
            return event
        self.told = True
        status = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
        return {"type": "ERROR", "object": status}


def test_an_operator_of_which_one_watch_has_ended_ends_and_another_goes_on_at_once(world: World) -> None:
    folder = world.folder / "broken"
    folder.mkdir()
    fault = Broken("modeldeployments")
    with Proxy(world.control_plane.kubeconfig, folder) as proxy, world.running(operators=0):
        proxy.fault = fault
        first = world.start(proxy)
        second = None
        try:
            eventually(first.leads, 60)
            second = world.start()
            eventually(lambda: second.health("/readyz") == 200, 60)
            fault.armed = True
            world.apply(example_model("after", "eu-west"))
            eventually(lambda: fault.told)
            began = time.monotonic()
            assert first.process.wait(20) == 1
            log = first.log.read_text()
            assert "NotFound" in log
            assert "modeldeployments" in log
            eventually(second.leads, 10)
            assert time.monotonic() - began < 12, "the lease was given up, and not waited for"
            eventually(lambda: condition(world.api.get(path("ModelDeployment", "after", MODELS)), "Ready"), 60)
        finally:
            for each in (first, second):
                if each is not None:
                    each.stop(signal.SIGKILL)
