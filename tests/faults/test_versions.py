"""CRDs go to a newer version and back while objects are stored: nothing of theirs is lost, and no child is written."""

import copy
import time
from typing import Any

import yaml

from tests.controlplane.api import Object, eventually
from tests.controlplane.harness import REPOSITORY
from tests.faults.world import LEASE, MODELS, World, example_model
from tests.integration.operators import path, versions

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLURALS = ("modeldeployments", "regions")
LATER = {"spec": {"later": {"depth": 3, "words": ["a", "b"]}}}


def test_crds_that_go_to_a_newer_version_and_back_lose_nothing_and_cause_no_write(world: World) -> None:
    with world.running():
        world.apply(example_model("stored", "eu-west", "us-east"))
        world.settles()
        install(world, newer=True)
        # Fields that this operator does not know.
        for where in (path("ModelDeployment", "stored", MODELS), path("Region", "eu-west")):
            eventually(lambda where=where: world.api.patch(where, LATER)["spec"].get("later"))
        quiet(world)
        before, made = seen(world), world.effects()
        try:
            install(world, newer=False)
            eventually(lambda: later(world) == [None, None])  # not shown, and still stored
            restart(world)
            quiet(world)
            assert seen(world) == before, "the newer fields would be lost with the first write"
        finally:
            install(world, newer=True)
        eventually(lambda: later(world) == [LATER["spec"]["later"]] * 2)
        restart(world)
        quiet(world)
        assert seen(world) == before
        assert world.effects() == made
        # A write keeps what it does not know.
        edit = {"spec": {"rollout": {"drainSeconds": 9}}}
        eventually(lambda: world.api.patch(path("ModelDeployment", "stored", MODELS), edit))
        quiet(world)
        eventually(lambda: later(world) == [LATER["spec"]["later"]] * 2)
        install(world, newer=False)
        eventually(lambda: later(world) == [None, None])
        quiet(world)


def install(world: World, *, newer: bool) -> None:
    """This version's CRDs, or those of a newer one."""
    for plural in PLURALS:
        crd: Object = yaml.safe_load((REPOSITORY / "crds" / f"tomoul.ai_{plural}.yaml").read_text())
        if newer:
            crd = with_later(crd)
        world.api.apply(f"{CRDS}/{plural}.tomoul.ai", crd)


def with_later(crd: Object) -> Object:
    found = copy.deepcopy(crd)
    for version in found["spec"]["versions"]:
        spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        words = {"type": "array", "items": {"type": "string"}}
        spec["properties"]["later"] = {"type": "object", "properties": {"depth": {"type": "integer"}, "words": words}}
    return found


def later(world: World) -> list[Any]:
    objects = (path("ModelDeployment", "stored", MODELS), path("Region", "eu-west"))
    return [world.api.get(each)["spec"].get("later") for each in objects]


def seen(world: World) -> dict[tuple[str, str, str], str]:
    """Versions of everything; an API server that has just got other CRDs asks for patience."""
    return eventually(lambda: versions(world.api))


def restart(world: World) -> None:
    """Another operator, that leads and has looked at everything."""
    world.kill()
    eventually(lambda: world.api.get(LEASE)["spec"]["holderIdentity"] and world.leaders, 60)
    eventually(lambda: world.leaders[0].metrics().get("tomoul_queue_depth") == 0, 60)


def quiet(world: World) -> None:
    """Wait until nothing has been written for two seconds."""

    def still() -> bool:
        before = versions(world.api)
        time.sleep(2)
        return versions(world.api) == before

    eventually(still, 60)
