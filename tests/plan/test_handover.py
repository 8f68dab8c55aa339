"""What goes from a model in one shard to a model in another, whichever of the two is written first."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import model, region, world
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import ModelRoute, RoutingTable
from tomoul.plan.naming import shard_name
from tomoul.plan.settings import Settings
from tomoul.plan.shards import shard_of
from tomoul.plan.tables import plan_tables
from tomoul.plan.world import Key, World

LORA = {"adapters": [{"id": "acme/lora", "source": {"file": {"path": "/a"}}}]}
ZERO, ONE = (shard_name("eu-west", shard_of(f"acme/m{number}")) for number in (0, 1))


def named(number: int, *aliases: str, model_id: str = "", **fields: Any) -> ModelDeployment:
    ids = {"id": model_id or f"acme/m{number}", "aliases": list(aliases)}
    return model(Key("m", f"m{number}"), created=f"2026-01-0{number + 1}T00:00:00Z", model=ids, **fields)


def with_tables(found: World, only: str | None = None) -> World:
    plan = plan_tables(found, "eu-west", only=only)
    assert plan is not None
    tables = {name: RoutingTable.model_validate(table) for name, table in plan.tables.items()}
    return replace(found, facts=replace(found.facts, tables={**found.facts.tables, **tables}))


def sharded(*models: ModelDeployment) -> World:
    assert ZERO != ONE
    rest = [named(number) for number in range(2, 6)]
    made = world(*models, *rest, regions=(region("eu-west"),))
    return with_tables(with_tables(replace(made, settings=Settings(routes_per_table=4))))


def changed(found: World, *models: ModelDeployment) -> World:
    return replace(found, models={**found.models, **{Key("m", each.metadata.name): each for each in models}})


def routes(found: World, shard: str) -> dict[str, ModelRoute]:
    return {route.id: route for route in found.facts.tables[shard].spec.models}


def holders(found: World, alias: str) -> list[str]:
    return [route.id for table in found.facts.tables.values() for route in table.spec.models if alias in route.aliases]


@pytest.mark.parametrize("order", [(ZERO, ONE, ZERO), (ONE, ZERO)])
def test_an_alias_that_goes_to_a_model_in_another_shard_is_in_one_of_the_two_at_every_moment(
    order: tuple[str, ...],
) -> None:
    found = sharded(named(0, "best"), named(1))
    assert holders(found, "best") == ["acme/m0"]
    found = changed(found, named(0), named(1, "best"))
    for shard in order:
        found = with_tables(found, shard)
        assert holders(found, "best"), shard
    assert holders(found, "best") == ["acme/m1"]
    plan = plan_tables(found, "eu-west", only=ZERO)
    assert plan is not None
    assert not plan.moves


@pytest.mark.parametrize("order", [(ZERO, ONE, ZERO), (ONE, ZERO)])
def test_what_a_deleted_model_leaves_to_one_in_another_shard_means_one_of_the_two_at_every_moment(
    order: tuple[str, ...],
) -> None:
    found = sharded(named(0, "best"), named(1, "best", "acme/m0"))
    assert holders(found, "best") == ["acme/m0"]
    found = replace(found, models={key: each for key, each in found.models.items() if key.name != "m0"})
    for shard in order:
        found = with_tables(found, shard)
        assert holders(found, "best"), shard
        assert holders(found, "acme/m0") or "acme/m0" in routes(found, ZERO), shard
    assert (holders(found, "best"), holders(found, "acme/m0")) == (["acme/m1"], ["acme/m1"])
    assert "acme/m0" not in routes(found, ZERO)
    plan = plan_tables(found, "eu-west", only=ZERO)
    assert plan is not None
    assert not plan.moves


def test_a_table_that_keeps_an_alias_for_another_says_that_it_is_to_be_looked_at_again() -> None:
    found = changed(sharded(named(0, "best"), named(1)), named(0), named(1, "best"))
    plan = plan_tables(found, "eu-west", only=ZERO)
    assert plan is not None
    assert plan.moves


def test_aliases_that_two_models_exchange_do_not_wait_for_each_other() -> None:
    found = changed(sharded(named(0, "best"), named(1, "fast")), named(0, "fast"), named(1, "best"))
    for shard in (ZERO, ONE, ZERO, ONE):
        found = with_tables(found, shard)
        assert holders(found, "best")
        assert holders(found, "fast")
    assert (holders(found, "best"), holders(found, "fast")) == (["acme/m1"], ["acme/m0"])


def test_an_alias_that_nobody_has_any_more_goes_at_once() -> None:
    found = with_tables(changed(sharded(named(0, "best"), named(1)), named(0)), ZERO)
    assert not holders(found, "best")


def test_an_adapter_of_a_model_that_is_refused_under_its_new_id_is_served_on() -> None:
    found = sharded(named(0), named(1, **LORA))
    assert "acme/lora" in routes(found, ONE)
    # A slip of the pen: the id is another model's.
    slip = changed(found, named(1, model_id="acme/m0", **LORA))
    after = plan_tables(slip, "eu-west")
    assert after is not None
    assert "acme/lora" in after.routes
