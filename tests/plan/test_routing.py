from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import model, planned_table, region, world
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import RoutingTable
from tomoul.plan.world import Key, World

REGIONS = (region("ap-south"), region("eu-west"), region("us-east"))


def aliases(found: World, at: str) -> dict[str, list[str]]:
    table = planned_table(found, at)
    assert table is not None
    return {route["id"]: route["aliases"] for route in table["spec"]["models"]}


def two_regions_with_one_alias(second_id: str, second_aliases: list[str]) -> World:
    """`acme/a` with the alias `chat` in us-east; the other, which is younger, in ap-south."""
    first = {"id": "acme/a", "aliases": ["chat"]}
    second = {"id": second_id, "aliases": second_aliases}
    return world(
        model(Key("m", "a"), created="2026-01-01T00:00:00Z", model=first, regions=[{"name": "us-east"}]),
        model(Key("m", "b"), created="2026-02-01T00:00:00Z", model=second, regions=[{"name": "ap-south"}]),
        regions=REGIONS,
    )


def test_an_alias_means_the_local_model_and_elsewhere_the_older_one() -> None:
    found = two_regions_with_one_alias("acme/b", ["chat"])
    assert aliases(found, "us-east") == {"acme/a": ["chat"], "acme/b": []}
    assert aliases(found, "ap-south") == {"acme/a": [], "acme/b": ["chat"]}
    assert aliases(found, "eu-west") == {"acme/a": ["chat"], "acme/b": []}


def test_an_id_means_its_model_in_every_table_but_that_of_a_region_where_it_is_an_alias_only() -> None:
    found = two_regions_with_one_alias("chat", [])
    assert aliases(found, "us-east") == {"acme/a": ["chat"]}
    assert aliases(found, "ap-south") == {"acme/a": [], "chat": []}
    assert aliases(found, "eu-west") == {"acme/a": [], "chat": []}


@pytest.mark.parametrize(("state", "fallback"), [("Active", ["us-east"]), ("Draining", []), ("Disabled", [])])
def test_calls_fall_back_to_regions_that_are_active(state: str, fallback: list[str]) -> None:
    targets = [{"name": "eu-west"}, {"name": "us-east"}]
    found = world(
        model(regions=targets, routing={"fallback": ["eu-west", "us-east"]}),
        regions=(region("eu-west"), region("us-east", state=state)),
    )
    table = planned_table(found, "eu-west")
    assert table is not None
    assert table["spec"]["models"][0]["fallback"] == fallback


def with_tables(found: World) -> World:
    """The world once its tables have been written."""
    planned = {name: planned_table(found, name) for name in found.regions}
    tables = {name: RoutingTable.model_validate(table) for name, table in planned.items() if table is not None}
    return replace(found, facts=replace(found.facts, tables=tables))


def routes(found: World, at: str) -> dict[str, Any]:
    table = planned_table(found, at)
    assert table is not None
    return {route["id"]: route for route in table["spec"]["models"]}


def edited(found: World, *models: ModelDeployment, regions: Sequence[Region] = ()) -> World:
    """The world after these resources were written."""
    return replace(
        found,
        models={**found.models, **{Key(each.metadata.namespace, each.metadata.name): each for each in models}},
        regions={**found.regions, **{each.metadata.name: each for each in regions}},
    )


BOTH = [{"name": "eu-west"}, {"name": "us-east"}]
RESERVED = ("--served-model-name", "other")


def test_every_table_keeps_the_entry_of_a_model_whose_edit_is_refused() -> None:
    before = with_tables(world(model(regions=BOTH), regions=REGIONS))
    after = edited(before, model(regions=BOTH, args=RESERVED, capabilities={"jsonMode": True}))
    for name in before.regions:
        assert routes(after, name) == routes(before, name), name
    assert routes(after, "ap-south")["acme/chat"]["regions"] == ["eu-west", "us-east"]


def test_a_region_that_loses_an_accelerator_keeps_its_route_and_the_other_one_follows_the_spec() -> None:
    asked = {"accelerator": "nvidia-l4"}
    before = with_tables(world(model(regions=BOTH, resources=asked), regions=REGIONS))
    renamed = region("eu-west", placement={"accelerators": [{"name": "l4"}]})
    after = edited(before, model(regions=BOTH, resources=asked, routing={"requireRegion": True}), regions=[renamed])
    assert routes(after, "eu-west") == routes(before, "eu-west")
    assert routes(after, "us-east")["acme/chat"]["requireRegion"]
    assert routes(after, "us-east")["acme/chat"]["regions"] == ["eu-west", "us-east"]


@pytest.mark.parametrize(
    ("target", "state", "serving"),
    [(BOTH, "Disabled", ["us-east"]), (BOTH[1:], "Active", ["us-east"]), (BOTH, "Draining", ["eu-west", "us-east"])],
)
def test_a_refused_model_goes_from_regions_that_it_leaves_or_that_are_disabled(
    target: list[dict[str, str]], state: str, serving: list[str]
) -> None:
    before = with_tables(world(model(regions=BOTH), regions=REGIONS))
    after = edited(before, model(regions=target, args=RESERVED), regions=[region("eu-west", state=state)])
    assert routes(after, "us-east")["acme/chat"]["regions"] == serving
    if state == "Active":
        assert routes(after, "eu-west")["acme/chat"]["pools"] == []


def test_a_refused_model_that_never_ran_has_no_route_and_one_whose_id_another_holds_loses_its_own() -> None:
    assert routes(with_tables(world(model(args=RESERVED))), "eu-west") == {}
    younger = model(Key("m", "b"), created="2026-02-01T00:00:00Z", regions=BOTH[:1])
    before = with_tables(world(younger))
    older = model(Key("m", "a"), created="2026-01-01T00:00:00Z", regions=BOTH[:1])
    (pool,) = routes(edited(before, older), "eu-west")["acme/chat"]["pools"]
    assert pool["service"].startswith("a-eu-west")


def test_an_alias_that_another_model_has_by_now_leaves_a_kept_route() -> None:
    first = model(Key("m", "a"), model={"id": "acme/a", "aliases": ["chat"]})
    before = with_tables(world(first))
    broken = model(Key("m", "a"), args=RESERVED, model={"id": "acme/a"})
    second = model(Key("m", "b"), model={"id": "acme/b", "aliases": ["chat"]})
    assert aliases(edited(before, broken), "eu-west") == {"acme/a": ["chat"]}
    assert aliases(edited(before, broken, second), "eu-west") == {"acme/a": [], "acme/b": ["chat"]}
