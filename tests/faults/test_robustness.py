"""Whatever breaks between operator and API server, the end is the same, by the same creations and deletions."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.controlplane.api import eventually
from tests.faults.conftest import ALL
from tests.faults.plans import (
    MOMENTS,
    REFUSALS,
    Gone,
    Kill,
    Losing,
    LostAnswers,
    Lying,
    Moment,
    Stale,
    Storm,
    Unauthorized,
)
from tests.faults.proxy import Fault
from tests.faults.world import MODELS, State, World, example_model
from tests.integration.operators import path

DEADLINE = 120.0
"""Seconds after the end of a fault in which everything has to be as it should be."""


class Undisturbed(NamedTuple):
    """What comes of the script when nothing goes wrong."""

    begun: State
    changed: State
    effects: Counter[str]


def begin(world: World) -> None:
    """The first half of the script: three models."""
    world.apply(example_model("both", "eu-west", "us-east"))
    world.apply(example_model("stays", "eu-west"))
    world.apply(example_model("goes", "us-east", cache={"mode": "Tenant", "noStore": "NotStored"}))


def change(world: World) -> None:
    """The second half: an edit, a region that is left, a deletion, and a child that somebody deletes."""
    world.apply(example_model("both", "eu-west", rollout={"drainSeconds": 7}))
    world.delete("ModelDeployment", "goes")
    services = world.api.get(f"/api/v1/namespaces/{MODELS}/services", labelSelector="tomoul.ai/model-deployment=stays")
    (name,) = [item["metadata"]["name"] for item in services["items"]]
    world.api.delete(path("Service", name, MODELS))


@pytest.fixture(scope="module")
def undisturbed(world: World) -> Undisturbed:
    with world.running():
        begin(world)
        begun = world.settles()
        change(world)
        eventually(lambda: "ModelDeployment goes" not in world.state())
        changed = world.settles()
        assert world.ended == []
        return Undisturbed(begun, changed, world.effects())


def run(world: World, undisturbed: Undisturbed, fault: Fault, over: Callable[[], bool] = lambda: True) -> None:
    """The script under a fault from its first call on; `over` says when the fault has ended."""
    with world.running(fault):
        begin(world)
        eventually(over, 300, "the fault ends")
        world.becomes(undisturbed.begun, DEADLINE)
        change(world)
        world.becomes(undisturbed.changed, DEADLINE)
        # The Secret of the salt is tried again by a clock of its own.
        eventually(lambda: world.effects().keys() >= undisturbed.effects.keys(), DEADLINE)
        assert world.effects() == undisturbed.effects


def test_the_script_makes_and_removes_something_of_every_kind(undisturbed: Undisturbed) -> None:
    kinds = {(effect.split()[0], effect.split()[1]) for effect in undisturbed.effects}
    made = {"deployments", "services", "serviceaccounts", "poddisruptionbudgets", "networkpolicies"}
    assert {kind for verb, kind in kinds if verb == "delete"} == made
    assert {kind for verb, kind in kinds if verb == "create"} == made | {"routingtables", "secrets"}


@pytest.mark.parametrize("moments", [MOMENTS] if not ALL else [(moment,) for moment in MOMENTS])
def test_an_operator_that_is_killed_at_its_writes(
    world: World, undisturbed: Undisturbed, moments: tuple[Moment, ...]
) -> None:
    fault = Kill(world.kill, moments, stride=1 if ALL else 9)
    run(world, undisturbed, fault)
    assert len(fault.kills) > 4, fault.kills
    assert {kill.split()[0] for kill in fault.kills} == set(moments)


def test_answers_that_are_lost(world: World, undisturbed: Undisturbed) -> None:
    fault = LostAnswers()
    run(world, undisturbed, fault)
    assert len(fault.lost) > 40


@pytest.mark.parametrize("statuses", [tuple(REFUSALS)] if not ALL else [(status,) for status in REFUSALS])
def test_a_storm_of_refusals(world: World, undisturbed: Undisturbed, statuses: tuple[int, ...]) -> None:
    fault = Storm(60 if ALL else 3, *statuses)
    run(world, undisturbed, fault)
    assert 0 < fault.refused < (3000 if ALL else 400), "back-off, and no hot loop"


def test_a_token_that_is_refused_for_a_moment(world: World, undisturbed: Undisturbed) -> None:
    fault = Unauthorized()
    run(world, undisturbed, fault)
    assert {"get", "list", "watch", "apply", "update", "delete"} <= set(fault.refused)


def test_watches_that_are_told_that_their_version_is_too_old(world: World, undisturbed: Undisturbed) -> None:
    fault = Gone(3)
    run(world, undisturbed, fault)
    assert len(fault.told) > 8


@pytest.mark.parametrize("bookmarks", [False, True] if ALL else [True])
def test_watches_that_lose_events_and_those_that_fall_silent(
    world: World, undisturbed: Undisturbed, *, bookmarks: bool
) -> None:
    fault = Losing(bookmarks=bookmarks)
    run(world, undisturbed, fault)
    assert fault.lost > 20


def test_reads_that_are_older_than_what_was_seen_before(world: World, undisturbed: Undisturbed) -> None:
    fault = Stale()
    with world.running(fault):
        world.settles()
        begin(world)
        world.becomes(undisturbed.begun, DEADLINE)
        fault.frozen = True
        eventually(lambda: fault.stale > 20)
        change(world)
        eventually(lambda: fault.stale > 40)
        fault.frozen = False
        world.becomes(undisturbed.changed, DEADLINE)
        assert world.effects() == undisturbed.effects


def test_an_api_server_that_is_killed_and_comes_back(world: World, undisturbed: Undisturbed) -> None:
    with world.running():
        begin(world)
        world.becomes(undisturbed.begun, DEADLINE)
        change(world)
        world.control_plane.stop_apiserver()
        eventually(lambda: bool(world.ended), 40, "a leader that cannot renew its lease ends")
        world.control_plane.start_apiserver()
        world.becomes(undisturbed.changed, DEADLINE)
        assert world.effects() == undisturbed.effects
        assert len(world.ended) == 1, "no exit loop while the API server is away"


def test_a_table_that_would_lose_routes_which_no_deletion_explains_is_withheld_and_says_so(
    world: World, undisturbed: Undisturbed
) -> None:
    def routed() -> set[str]:
        return {route["id"] for route in world.api.get(path("RoutingTable", "us-east"))["spec"]["models"]}

    with world.running(resync=600):
        begin(world)
        world.becomes(undisturbed.begun, DEADLINE)
        before, generation = routed(), world.api.get(path("RoutingTable", "us-east"))["metadata"]["generation"]
        assert len(before) == 3
        world.proxy.fault = fault = Lying("modeldeployments")
        for name in ("both", "stays", "goes"):
            world.api.patch(path("ModelDeployment", name, MODELS), {"metadata": {"labels": {"team": "a"}}})
        eventually(lambda: fault.lies >= 3)
        eventually(lambda: "no deletion explains" in world.said())
        counted = 'tomoul_tables_withheld_total{region="us-east"}'
        eventually(lambda: world.leaders[0].metrics().get(counted, 0) >= 1)
        assert routed() == before
        assert world.api.get(path("RoutingTable", "us-east"))["metadata"]["generation"] == generation
        world.proxy.fault = Fault()
        change(world)
        world.becomes(undisturbed.changed, DEADLINE)
