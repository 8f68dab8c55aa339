"""Others that want an object to be otherwise, or not to be, as often as we make it: nobody writes for ever."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.controlplane.api import ApiError, eventually
from tests.faults.world import MODELS, SYSTEM, World, example_model
from tests.integration.operators import COLLECTIONS, OURS, OperatorProcess, condition, path

SECONDS = 10.0
SOME = 8.0
"""Writes that one object may have in that time: those at once are over, and then it is one each 20 s."""


def test_two_operators_with_different_settings_do_not_write_for_ever(world: World) -> None:
    """As where it is installed twice: each has a lease of its own."""
    with world.running(operators=0):
        flags = (f"--namespace={SYSTEM}", "--resync-seconds=3", "--gateway-replicas=1")
        operators = [
            OperatorProcess(
                world.proxy.kubeconfig, world.folder / f"rival-{name}.log", *flags,
                f"--lease-name={name}", f"--operator-image=tomoul/operator:{name}",
            )
            for name in ("first", "second")
        ]  # fmt: skip
        try:
            for operator in operators:
                eventually(operator.leads, 60)
            world.apply(example_model("fought", "eu-west"))
            eventually(lambda: world.api.get(COLLECTIONS["Deployment"], labelSelector=OURS)["items"], 60)
            time.sleep(SECONDS)  # what both do at first
            before = sum(sum(operator.writes().values()) for operator in operators)
            time.sleep(SECONDS)
            written = sum(sum(operator.writes().values()) for operator in operators) - before
            assert written < 20, f"{written} writes in {SECONDS} s"
            assert sum(operator.metrics().get('tomoul_contested_total{kind="Deployment"}', 0) for operator in operators)
        finally:
            for operator in operators:
                operator.stop()


def test_somebody_who_deletes_an_object_as_often_as_it_is_made_does_not_make_us_write_for_ever(world: World) -> None:
    with world.running():
        world.apply(example_model("deleted", "eu-west"))
        eventually(lambda: condition(world.api.get(path("ModelDeployment", "deleted", MODELS)), "Ready"), 60)
        with deleting(world, f"/api/v1/namespaces/{MODELS}/services"):
            time.sleep(5)
            leader = eventually(lambda: world.leaders[0])
            before = sum(leader.writes().values())
            time.sleep(SECONDS)
            written = sum(leader.writes().values()) - before
            assert written < SOME, f"{written} writes in {SECONDS} s"
        eventually(lambda: world.api.get(f"/api/v1/namespaces/{MODELS}/services", labelSelector=OURS)["items"], 60)


@contextmanager
def deleting(world: World, collection: str) -> Iterator[None]:
    """Somebody who wants none of these objects of ours, for the `with` block."""
    stop = threading.Event()

    def delete() -> None:
        while not stop.wait(0.05):
            for item in world.api.get(collection, labelSelector=OURS)["items"]:
                with suppress(ApiError):
                    world.api.delete(f"{collection}/{item['metadata']['name']}")
        world.api.close()

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
