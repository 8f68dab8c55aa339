"""Two operators, one of which sleeps past its lease: one writes."""

import signal
import time

from tests.controlplane.api import eventually
from tests.faults.proxy import Proxy
from tests.faults.world import MODELS, World, example_model
from tests.integration.operators import condition, path


def test_a_leader_that_was_paused_past_its_lease_writes_nothing_when_it_wakes_and_ends(world: World) -> None:
    folder = world.folder / "first"
    folder.mkdir()
    with Proxy(world.control_plane.kubeconfig, folder) as proxy, world.running(operators=0):
        first = world.start(proxy)
        second = None
        try:
            eventually(first.leads, 60)
            world.apply(example_model("before", "eu-west"))
            eventually(lambda: condition(world.api.get(path("ModelDeployment", "before", MODELS)), "Ready"), 60)
            # What is on its way when a process is paused arrives when it wakes, and nobody can call it back.
            eventually(lambda: quiet(proxy), 60)
            first.process.send_signal(signal.SIGSTOP)
            second = world.start()
            eventually(second.leads, 60)
            world.apply(example_model("after", "eu-west"))
            world.delete("ModelDeployment", "before")
            eventually(lambda: condition(world.api.get(path("ModelDeployment", "after", MODELS)), "Ready"), 60)
            asleep = len(proxy.done)
            first.process.send_signal(signal.SIGCONT)
            assert first.process.wait(30) == 1
            written = [str(call) for call, status in proxy.done[asleep:] if call.writes and status < 400]
            assert written == [], "it has woken as a leader"
            assert "another replica may lead now" in first.log.read_text()
            assert second.leads()
        finally:
            for each in (first, second):
                if each is not None:
                    each.process.send_signal(signal.SIGCONT)
                    each.stop(signal.SIGKILL)


def quiet(proxy: Proxy) -> bool:
    """Whether nothing but the lease is written for a second."""

    def written() -> int:
        return sum(call.writes and call.resource != "leases" for call, _ in list(proxy.done))

    before = written()
    time.sleep(1)
    return written() == before
