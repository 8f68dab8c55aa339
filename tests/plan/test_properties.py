"""What holds for every plan of every world."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plan.strategies import facts, model_names, worlds
from tomoul.api.conditions import Reason
from tomoul.api.meta import LABEL_MODEL_DEPLOYMENT, LABEL_REGION
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import RegionState
from tomoul.api.routingtable import RoutingTable
from tomoul.plan.claims import claims
from tomoul.plan.diff import diff_worlds
from tomoul.plan.events import events
from tomoul.plan.judge import MAX_MESSAGE
from tomoul.plan.merge import merge_status
from tomoul.plan.model import plan_model
from tomoul.plan.naming import MAX_NAME, gateway_name, pool_name, workload_name
from tomoul.plan.planner import DesiredState, identity, plan
from tomoul.plan.routing import route_hash
from tomoul.plan.world import Facts, Key, Manifest, World

MATRIX = [
    "Accepted", "Scheduled", "ModelReady", "WorkloadReady", "RoutesProgrammed", "CachePolicyEnforced", "Ready",
]  # fmt: skip
relaxed = settings(max_examples=35, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def worlds_with_facts(draw: st.DrawFn) -> World:
    world = draw(worlds())
    desired = plan(world)
    deployments = {
        Key(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in kind(desired, "Deployment")
    }
    return replace(world, facts=draw(facts(deployments)))


def kind(desired: DesiredState, name: str) -> list[Manifest]:
    return [obj for obj in desired.objects if obj["kind"] == name]


def realised(world: World, desired: DesiredState) -> World:
    """The world after everything of the plan, statuses included, was written."""
    tables = {
        name: RoutingTable.model_validate(table | {"metadata": table["metadata"] | {"generation": 1}})
        for name, table in desired.tables.items()
    }
    return replace(
        world,
        facts=replace(world.facts, tables=tables),
        models={
            key: model.model_copy(update={"status": desired.models[key].status}) for key, model in world.models.items()
        },
        regions={
            name: each.model_copy(update={"status": desired.regions[name].status})
            for name, each in world.regions.items()
        },
    )


@relaxed
@given(worlds_with_facts())
def test_planning_twice_changes_nothing(world: World) -> None:
    after = realised(world, plan(world))
    settled = plan(after)
    assert settled.objects == plan(world).objects
    assert not diff_worlds(world, after).changes
    again = plan(realised(after, settled))
    assert again == settled


@relaxed
@given(worlds_with_facts(), st.randoms(use_true_random=False))
def test_the_order_of_the_world_does_not_matter(world: World, random: Any) -> None:
    def shuffled(items: Any) -> Any:
        entries = list(items.items())
        random.shuffle(entries)
        return dict(entries)

    other = replace(world, models=shuffled(world.models), regions=shuffled(world.regions))
    assert plan(other) == plan(world)


@relaxed
@given(worlds())
def test_planning_one_model_gives_what_planning_everything_gives(world: World) -> None:
    desired = plan(world)
    owners = claims(world.models)
    for key in world.models:
        assert plan_model(world, key) == plan_model(world, key, owners) == desired.models[key]


@relaxed
@given(worlds())
def test_every_route_has_its_pools_and_every_pool_its_route(world: World) -> None:
    desired = plan(world)
    services = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"], obj["metadata"]["labels"][LABEL_REGION])
        for obj in kind(desired, "Service")
        if LABEL_MODEL_DEPLOYMENT in obj["metadata"]["labels"]
    }
    routed = {
        (pool["namespace"], pool["service"], name)
        for name, table in desired.tables.items()
        for route in table["spec"]["models"]
        for pool in route["pools"]
    }
    assert routed == services


@relaxed
@given(worlds())
def test_objects_have_names_of_their_own_of_at_most_63_characters(world: World) -> None:
    identities = [identity(obj) for obj in plan(world).objects]
    assert len(set(identities)) == len(identities)
    assert all(len(name) <= MAX_NAME and name == name.strip("-") and name[0].isalpha() for *_, name in identities)


@given(st.lists(st.tuples(model_names(), st.sampled_from(["eu", "eu-west", "west", "e" * 32])), unique=True))
def test_names_of_pools_never_meet(pairs: list[tuple[str, str]]) -> None:
    names = [pool_name(*pair, pool) for pair in pairs for pool in ("default", "no-store")]
    names += [workload_name(*pair) for pair in pairs]
    names += sorted({gateway_name(region) for _, region in pairs})
    assert len(set(names)) == len(names)


@relaxed
@given(worlds())
def test_selectors_match_the_pods_that_they_are_meant_for_and_no_others(world: World) -> None:
    objects = plan(world).objects
    pods = {
        identity(obj): (obj["metadata"]["namespace"], obj["spec"]["template"]["metadata"]["labels"])
        for obj in objects
        if obj["kind"] == "Deployment"
    }

    def selected(namespace: str, selector: dict[str, str]) -> set[tuple[str, str, str, str]]:
        return {
            key for key, (where, labels) in pods.items() if where == namespace and selector.items() <= labels.items()
        }

    for obj in objects:
        meta, spec = obj["metadata"], obj.get("spec", {})
        match obj["kind"]:
            case "Deployment":
                assert selected(meta["namespace"], spec["selector"]["matchLabels"]) == {identity(obj)}
            case "Service":
                (key,) = selected(meta["namespace"], spec["selector"])
                assert key[3] == meta["name"]
            case "PodDisruptionBudget":
                (key,) = selected(meta["namespace"], spec["selector"]["matchLabels"])
                assert key[3] == meta["name"]
            case "NetworkPolicy":
                assert selected(meta["namespace"], spec["podSelector"]["matchLabels"])


@relaxed
@given(worlds())
def test_what_is_not_accepted_hosted_or_enabled_has_neither_pods_nor_routes(world: World) -> None:
    desired = plan(world)
    for region in world.regions.values():
        name = region.metadata.name
        runs = world.settings.hosts(name) and region.spec.state is not RegionState.DISABLED
        assert (name in desired.tables) == runs
        assert any(obj["metadata"]["labels"][LABEL_REGION] == name for obj in desired.objects) == runs
    for key, planned in desired.models.items():
        accepted = {
            row.name
            for row in planned.status.regions
            if any(entry.type == "Accepted" and entry.status == "True" for entry in row.conditions)
        }
        assert {obj["metadata"]["labels"][LABEL_REGION] for obj in planned.objects} == accepted
        routed = {
            name
            for name, table in desired.tables.items()
            for route in table["spec"]["models"]
            for pool in route["pools"]
            if pool["namespace"] == key.namespace and pool["service"] == pool_name(key.name, name, pool["name"])
        }
        assert routed == accepted


@relaxed
@given(worlds())
def test_a_name_means_one_model_in_a_table_and_fallbacks_serve_it(world: World) -> None:
    for name, table in plan(world).tables.items():
        routes = table["spec"]["models"]
        names = [alias for route in routes for alias in (route["id"], *route["aliases"])]
        assert len(set(names)) == len(names)
        assert [route["id"] for route in routes] == sorted(route["id"] for route in routes)
        for route in routes:
            assert set(route["fallback"]) <= set(route["regions"]) - {name}
            assert (name in route["regions"]) == bool(route["pools"])


@relaxed
@given(worlds())
def test_a_table_read_back_has_the_routes_that_were_planned(world: World) -> None:
    for table in plan(world).tables.values():
        read = RoutingTable.model_validate_json(json.dumps(table))
        written = RoutingTable.model_validate(table)
        assert [route_hash(route) for route in read.spec.models] == [route_hash(route) for route in written.spec.models]


@relaxed
@given(worlds_with_facts(), st.datetimes(), st.datetimes())
def test_merging_an_unchanged_status_changes_nothing(world: World, now: Any, later: Any) -> None:
    for planned in (*plan(world).models.values(), *plan(world).regions.values()):
        first = merge_status(planned.status.model_copy(update={"conditions": ()}), planned.status, now)
        assert merge_status(first, planned.status, later) == first


@relaxed
@given(worlds_with_facts(), st.datetimes())
def test_a_model_is_ready_only_where_all_its_other_conditions_hold_and_says_which_does_not(
    world: World, now: Any
) -> None:
    for key, planned in plan(world).models.items():
        generation = world.models[key].metadata.generation
        for row in planned.status.regions:
            assert [entry.type for entry in row.conditions if entry.type in MATRIX] == MATRIX
            *others, ready = row.conditions
            assert ready.type == "Ready"
            unmet = [entry for entry in others if entry.status != "True"]
            assert (ready.status == "True") == (not unmet)
            assert bool(row.waiting_for) <= bool(unmet)
            if unmet:
                assert ready.reason in {entry.reason for entry in unmet}
            for entry in row.conditions:
                assert entry.reason in set(Reason)
                assert entry.observed_generation == generation
                assert len(entry.message) <= MAX_MESSAGE
                assert entry.message or entry.status == "True"
        told = merge_status(planned.status, planned.status, now)
        assert events(told, told) == ()
        assert len(events(ModelDeploymentStatus(), told)) <= len(told.regions)


def test_an_empty_world_has_an_empty_plan() -> None:
    assert plan(World(facts=Facts())).objects == ()
