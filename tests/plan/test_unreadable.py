"""Regions and ModelDeployments that the operator cannot read after a restart: nothing of theirs changes."""

from dataclasses import replace

import pytest

from tests.plan.specs import model, planned_table, region, world
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.api.rollout import CanaryStatus, CanaryVerdict, RolloutStatus
from tomoul.api.routingtable import RoutingTable, RoutingTableSpec
from tomoul.plan.model import plan_model
from tomoul.plan.world import Key, World

FIRST, SECOND = Key("m", "a"), Key("m", "b")


@pytest.fixture
def before() -> World:
    """Two models in two regions, and the tables that say so."""
    targets = [{"name": "eu-west"}, {"name": "us-east"}]
    found = world(
        model(
            FIRST,
            created="2026-01-01T00:00:00Z",
            model={"id": "acme/a", "aliases": ["chat"]},
            regions=targets,
            routing={"fallback": ["eu-west", "us-east"]},
        ),
        model(
            SECOND,
            created="2026-02-01T00:00:00Z",
            model={"id": "acme/b", "aliases": ["acme/a", "chat", "own"]},
            regions=[{"name": "us-east"}],
        ),
        regions=(region("eu-west"), region("us-east")),
    )
    tables = {}
    for name in found.regions:
        manifest = planned_table(found, name)
        assert manifest is not None
        tables[name] = RoutingTable.model_validate({"metadata": {"name": name}, "spec": manifest["spec"]})
    return replace(found, facts=replace(found.facts, tables=tables))


def without_region(found: World, name: str) -> World:
    regions = {other: each for other, each in found.regions.items() if other != name}
    return replace(found, regions=regions, unreadable_regions={name})


def without_model(found: World, key: Key, known: str | None) -> World:
    models = {other: each for other, each in found.models.items() if other != key}
    return replace(found, models=models, unreadable_models={key: known})


def planned(found: World, name: str) -> RoutingTableSpec:
    manifest = planned_table(found, name)
    assert manifest is not None
    return RoutingTableSpec.model_validate(manifest["spec"])


def test_the_other_regions_go_on_with_a_region_that_cannot_be_read(before: World) -> None:
    after = without_region(before, "us-east")
    assert planned(after, "eu-west") == before.facts.tables["eu-west"].spec


def test_a_model_keeps_what_it_has_in_a_region_that_cannot_be_read_and_is_told_so(before: World) -> None:
    plan = plan_model(without_region(before, "us-east"), FIRST)
    assert plan.keep == {"us-east"}
    assert {item["metadata"]["labels"]["tomoul.ai/region"] for item in plan.objects} == {"eu-west"}
    rows = {row.name: row.conditions[0] for row in plan.status.regions}
    assert (rows["us-east"].status, rows["us-east"].reason) == ("False", "UnreadableRegion")
    assert rows["eu-west"].status == "True"


def test_a_canary_that_was_rolled_back_is_remembered_while_its_region_cannot_be_read(before: World) -> None:
    rolled_back = RolloutStatus(revision="b", canary=CanaryStatus(verdict=CanaryVerdict.ROLLED_BACK))
    status = ModelDeploymentStatus(regions=(RegionModelStatus(name="us-east", rollout=rolled_back),))
    models = {**before.models, FIRST: before.models[FIRST].model_copy(update={"status": status})}
    plan = plan_model(without_region(replace(before, models=models), "us-east"), FIRST)
    assert [row.rollout for row in plan.status.regions if row.name == "us-east"] == [rolled_back]


def test_a_region_that_does_not_exist_is_still_unknown(before: World) -> None:
    after = replace(without_region(before, "us-east"), unreadable_regions=frozenset())
    assert planned(after, "eu-west").known_regions == ("eu-west",)
    assert plan_model(after, FIRST).keep == frozenset()


@pytest.mark.parametrize("known", ["acme/a", None])
@pytest.mark.parametrize("name", ["eu-west", "us-east"])
def test_the_routes_of_a_model_that_cannot_be_read_stay_in_every_table(
    before: World, name: str, known: str | None
) -> None:
    assert planned(without_model(before, FIRST, known), name) == before.facts.tables[name].spec


def test_nobody_takes_the_id_of_a_model_that_cannot_be_read(before: World) -> None:
    rival = model(Key("m", "rival"), created="2026-03-01T00:00:00Z", model={"id": "acme/a"})
    found = without_model(replace(before, models={**before.models, Key("m", "rival"): rival}), FIRST, "acme/a")
    plan = plan_model(found, Key("m", "rival"))
    assert plan.status.reason == "ModelIdConflict"
    assert not plan.objects
    assert planned(found, "eu-west") == before.facts.tables["eu-west"].spec
