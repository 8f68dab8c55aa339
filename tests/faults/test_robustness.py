"""Whatever breaks between operator and API server, the end is the same, by the same creations and deletions."""

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.controlplane.api import eventually
from tests.faults.conftest import ALL
from tests.faults.plans import (
    MOMENTS,
    REFUSALS,
    BlackHole,
    EndedAtOnce,
    Gone,
    Kill,
    Losing,
    LostAnswers,
    Lying,
    Maintenance,
    Moment,
    Stale,
    Storm,
    Unauthorized,
)
from tests.faults.proxy import Fault
from tests.faults.state import State
from tests.faults.world import MODELS, World, example_model
from tests.integration.operators import condition, path

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


def test_watches_that_end_as_soon_as_they_have_begun_are_opened_less_and_less_often(
    world: World, undisturbed: Undisturbed
) -> None:
    fault = EndedAtOnce(120 if ALL else 8)
    run(world, undisturbed, fault, fault.over)
    assert fault.ended["deployments"] >= 3
    assert fault.ended["regions"] >= 3
    # 0.5 s, doubling: of each kind, and of operators that were started anew.
    assert max(fault.ended.values()) <= (30 if ALL else 12), fault.ended


def test_a_load_balancer_that_answers_in_the_place_of_the_api_server_ends_nobody(
    world: World, undisturbed: Undisturbed
) -> None:
    fault = Maintenance(30 if ALL else 4)
    run(world, undisturbed, fault)
    assert fault.pages["list"] >= 2, fault.pages


def test_renewals_of_the_lease_that_are_never_answered_do_not_end_the_leader(
    world: World, undisturbed: Undisturbed
) -> None:
    fault = BlackHole()
    run(world, undisturbed, fault, lambda: fault.lost >= 2)
    assert world.ended == []


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
        effects = world.effects()
        assert not effects - undisturbed.effects
        # What it did at its last moment, it could not tell.
        assert set(undisturbed.effects - effects) <= world.perhaps()
        assert len(world.ended) == 1, "no exit loop while the API server is away"


def lied_to(world: World, fault: Lying, concluded: Callable[[], bool]) -> None:
    """The operator hears that all models are gone, and once more if it was not there to hear it, until it concludes."""
    world.proxy.fault = fault

    def heard() -> bool:
        assert concluded(), world.said()[-3000:]
        return True

    for team in ("a", "b"):
        lies = fault.lies
        for name in ("both", "stays", "goes"):
            world.api.patch(path("ModelDeployment", name, MODELS), {"metadata": {"labels": {"team": team}}})
        eventually(lambda lies=lies: fault.lies >= lies + 3)
        with contextlib.suppress(AssertionError):
            eventually(heard, 20)
            return
    eventually(heard, 10)


def table(world: World) -> tuple[set[str], int]:
    """Ids and generation of the table of us-east."""
    found = world.api.get(path("RoutingTable", "us-east"))
    return {route["id"] for route in found["spec"]["models"]}, found["metadata"]["generation"]


def told(world: World) -> list[str]:
    """Events of Regions about their tables."""
    events = world.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    return [each["note"] for each in events if each["reason"] == WITHHELD]


def withheld(world: World) -> float:
    """How often tables were withheld, in all regions."""
    metrics = world.leaders[0].metrics().items()
    return sum(value for name, value in metrics if name.startswith("tomoul_tables_withheld_total"))


WITHHELD = "TableWithheld"


def test_a_table_that_would_lose_routes_which_no_deletion_explains_is_withheld_and_says_so(
    world: World, undisturbed: Undisturbed
) -> None:
    with world.running(resync=600):
        begin(world)
        world.becomes(undisturbed.begun, DEADLINE)
        before, known = table(world), set(told(world))
        assert len(before[0]) == 3
        # Of the first region that asks the API server: what that one answers helps the other, too.
        lied_to(world, Lying("modeldeployments"), lambda: "no deletion explains" in world.said())
        eventually(lambda: withheld(world) >= 1)
        eventually(lambda: any("of which no deletion explains" in note for note in set(told(world)) - known))
        assert table(world) == before
        world.proxy.fault = Fault()
        change(world)
        world.becomes(undisturbed.changed, DEADLINE)


def test_a_region_whose_table_is_withheld_for_longer_is_not_ready_until_the_api_server_answers(
    world: World, undisturbed: Undisturbed
) -> None:
    def ready() -> tuple[str, str]:
        found = condition(world.api.get(path("Region", "us-east")), "Ready")
        return found["status"], found["reason"]

    def gauge() -> float:
        return world.leaders[0].metrics()['tomoul_table_withheld{region="us-east"}']

    with world.running(resync=600):
        begin(world)
        world.becomes(undisturbed.begun, DEADLINE)
        before, known = table(world), set(told(world))
        assert (ready()[0], gauge()) == ("True", 0)
        fault = Lying("modeldeployments", mute=True)
        lied_to(world, fault, lambda: ready() == ("False", WITHHELD))
        assert gauge() == 1
        eventually(lambda: any("does not confirm" in note for note in set(told(world)) - known))
        assert table(world) == before
        fault.mute = False
        eventually(lambda: ready()[0] == "True" and gauge() == 0, DEADLINE)
        world.proxy.fault = Fault()
        world.becomes(undisturbed.begun, DEADLINE)
        assert table(world) == before
