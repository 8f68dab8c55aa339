"""A region's tables: one while its models are few, shards where they are many, and the way from one to the other."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plan.region_of_gateways import Region
from tests.plan.specs import model, region, world
from tomoul.api.meta import LABEL_REGION, LABEL_SHARD
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import RoutingTable
from tomoul.plan.claims import claims
from tomoul.plan.diff import diff_worlds
from tomoul.plan.naming import region_of_table, shard_name, shard_of_table
from tomoul.plan.settings import Settings
from tomoul.plan.shards import SHARDS, shard_of
from tomoul.plan.tables import plan_tables
from tomoul.plan.world import Key, World
from tomoul.plan.written import rests_in_shards

MOST = 4
SHARD_NAMES = [f"eu-west.{number:02}" for number in range(SHARDS)]


def models(count: int, **fields: Any) -> list[ModelDeployment]:
    found = []
    for number in range(count):
        spec: dict[str, Any] = {"model": {"id": f"acme/m{number}"}} | fields
        found.append(model(Key("m", f"m{number}"), **spec))
    return found


def found_with(*items: ModelDeployment) -> World:
    made = world(*items, regions=(region("eu-west"), region("eu-west-03")))
    return replace(made, settings=Settings(routes_per_table=MOST))


def written(found: World, at: str = "eu-west") -> World:
    """The world once the tables of a region are written, of which no gateway has to say anything."""
    plan = plan_tables(found, at)
    assert plan is not None
    tables = {name: RoutingTable.model_validate(table) for name, table in plan.tables.items()}
    others = {name: table for name, table in found.facts.tables.items() if name not in plan.unused}
    return replace(found, facts=replace(found.facts, tables={**others, **tables}))


def ids(found: World, only: str | None = None) -> dict[str, list[str]]:
    """Ids by table, of those that hold any."""
    plan = plan_tables(found, "eu-west", only=only)
    assert plan is not None
    held = {name: [route["id"] for route in table["spec"]["models"]] for name, table in plan.tables.items()}
    return {name: each for name, each in held.items() if each}


def test_few_models_are_in_the_one_table_that_has_the_regions_name() -> None:
    plan = plan_tables(found_with(*models(MOST)), "eu-west")
    assert plan is not None
    assert list(plan.tables) == ["eu-west"]
    assert plan.tables["eu-west"]["metadata"]["labels"].keys().isdisjoint({LABEL_SHARD})


def test_more_are_in_shards_beside_the_table_of_the_region_whose_name_no_other_regions_table_can_have() -> None:
    found = found_with(*models(MOST + 1))
    plan = plan_tables(found, "eu-west")
    other = plan_tables(found, "eu-west-03")
    assert plan is not None
    assert other is not None
    assert list(plan.tables) == [*SHARD_NAMES, "eu-west"], "what is added is written before what is taken away"
    assert plan.tables.keys().isdisjoint(other.tables)
    for name, table in plan.tables.items():
        assert region_of_table(name) == table["spec"]["region"] == table["metadata"]["labels"][LABEL_REGION]
        assert table["metadata"]["labels"].get(LABEL_SHARD) == (None if name == "eu-west" else name[-2:])
        assert bool(table["spec"]["knownRegions"]) == (name == "eu-west")
        assert {shard_of(route["id"]) for route in table["spec"]["models"]} <= {shard_of_table(name)}


def test_a_shard_is_read_by_gateways_of_the_version_before_and_says_whether_calls_need_keys() -> None:
    plan = plan_tables(found_with(*models(MOST + 1)), "eu-west")
    assert plan is not None
    fields = [table["spec"].keys() for table in plan.tables.values()]
    assert all(each <= fields[-1] for each in fields)
    assert {table["spec"]["auth"] for table in plan.tables.values()} == {"Required"}


def test_models_that_are_in_shards_stay_there_until_they_are_half_as_many() -> None:
    sharded = written(written(found_with(*models(MOST + 1))))
    assert rests_in_shards(sharded, "eu-west")
    fewer = replace(
        sharded, models={key: each for key, each in sharded.models.items() if key.name in ("m0", "m1", "m2")}
    )
    assert "eu-west" not in ids(fewer)
    half = replace(fewer, models={key: each for key, each in fewer.models.items() if key.name != "m2"})
    assert ids(half)["eu-west"] == ["acme/m0", "acme/m1"]
    emptied = written(written(half))
    assert ids(emptied) == {"eu-west": ["acme/m0", "acme/m1"]}
    assert list(written(emptied).facts.tables) == ["eu-west"]


def test_a_shard_is_planned_by_itself_as_it_is_with_all_others() -> None:
    adapters = [{"id": f"acme/lora-{number}", "source": {"file": {"path": "/a"}}} for number in range(3)]
    found = found_with(*models(MOST), model(Key("m", "base"), model={"id": "acme/base"}, adapters=adapters))
    everything = plan_tables(found, "eu-west")
    rest = written(written(found))
    assert everything is not None
    for name, table in everything.tables.items():
        plan = plan_tables(rest, "eu-west", claims(rest.models), name)
        assert plan is not None
        assert plan.tables == {name: table}
    (held,) = [each for each in ids(found).values() if "acme/base" in each]
    assert {"acme/lora-0", "acme/lora-1", "acme/lora-2"} <= set(held), "a model's change is that of one shard"


def test_an_adapter_that_another_model_has_by_now_stays_in_the_shard_of_the_first_for_as_long_as_it_must() -> None:
    lora = {"adapters": [{"id": "acme/lora", "source": {"file": {"path": "/a"}}}]}
    first, second = (shard_name("eu-west", shard_of(f"acme/m{number}")) for number in (0, 1))
    assert first != second
    before = written(written(found_with(*models(1, **lora), *models(MOST + 1)[1:])))
    assert "acme/lora" in ids(before, first)[first]
    moved = [model(Key("m", "m1"), model={"id": "acme/m1"}, **lora), model(Key("m", "m0"), model={"id": "acme/m0"})]
    after = replace(before, models={**before.models, **{Key("m", each.metadata.name): each for each in moved}})
    assert "acme/lora" in ids(after, first)[first]
    table = plan_tables(after, "eu-west", only=second)
    assert table is not None
    there = RoutingTable.model_validate(table.tables[second])
    later = replace(after, facts=replace(after.facts, tables={**after.facts.tables, second: there}))
    assert "acme/lora" in ids(later, second)[second]
    assert "acme/lora" not in ids(later, first)[first]


@pytest.mark.parametrize("known", ["acme/m0", None])
def test_the_entries_of_a_model_that_cannot_be_read_stay_wherever_they_are_to_be(
    known: str | None,
) -> None:
    lora = {"adapters": [{"id": "acme/lora", "source": {"file": {"path": "/a"}}}]}
    sharded = written(written(found_with(*models(1, **lora), *models(MOST + 1)[1:])))
    (home,) = {name for name, held in ids(sharded).items() if "acme/m0" in held}
    unread = replace(
        sharded,
        models={key: each for key, each in sharded.models.items() if key.name != "m0"},
        unreadable_models={Key("m", "m0"): known},
    )
    assert ids(unread, home)[home] == ids(sharded)[home]
    assert not [name for name in ids(unread) if name == "eu-west"]
    gone = replace(unread, models={})
    kept = ["acme/lora", "acme/m0"] if known else sorted({each for held in ids(sharded).values() for each in held})
    assert sorted({each for held in ids(gone).values() for each in held}) == kept
    if known:
        assert ids(written(gone))["eu-west"] == kept, "they are few once what is gone is out of the tables"


def test_a_diff_tells_which_models_come_whichever_tables_they_are_in() -> None:
    before, after = found_with(*models(MOST)), found_with(*models(MOST + 1))
    (here, _) = diff_worlds(before, after).regions
    assert [(route.action, route.model) for route in here.routes] == [("create", f"acme/m{MOST}")]
    tables = [(each.action, each.name) for each in here.objects if each.kind == "RoutingTable"]
    assert tables == [("create", name) for name in SHARD_NAMES], "that of the region is as it was, but for its models"


def test_a_region_that_is_out_of_use_has_no_table_and_one_that_drains_says_so_once() -> None:
    many = models(MOST + 1)
    for state, count in (("Disabled", 0), ("Draining", 1)):
        found = replace(found_with(*many), regions={"eu-west": region("eu-west", state=state)})
        plan = plan_tables(found, "eu-west")
        draining = [table["spec"]["draining"] for table in plan.tables.values()] if plan is not None else []
        assert draining.count(True) == count


def actions() -> st.SearchStrategy[list[tuple[str, int]]]:
    """What happens: models come, change and go; the operator writes some of what it plans; gateways take in a table."""
    one = st.sampled_from(["come", "come", "change", "go", "write", "write", "write", "see", "see", "see", "see"])
    return st.lists(st.tuples(one, st.integers(0, 40)), min_size=20, max_size=80)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions())
def test_whatever_gateways_have_seen_of_it_a_model_is_served_on_and_by_no_older_entry_than_before(
    happening: list[tuple[str, int]],
) -> None:
    found = Region(most=MOST, models=8)
    for action, number in happening:
        getattr(found, action)(number)
        found.check()
    found.settle()
    found.check()
    for gateway in found.gateways:
        assert gateway.served() == found.versions


def test_a_table_of_the_version_before_which_knew_no_shards_becomes_some_and_loses_nothing_on_the_way() -> None:
    found = Region(most=10**6, models=20)
    for number in range(20):
        found.come(number)
    found.settle()
    assert list(found.tables) == ["eu-west"]
    found.upgrade(most=MOST)
    while found.write(0) or found.see(0) or found.see(1):
        found.check()
    assert sorted(found.tables) == ["eu-west", *SHARD_NAMES]
    assert not found.tables["eu-west"].spec.models
    assert [gateway.served() for gateway in found.gateways] == [found.versions] * 2


def test_shards_become_one_table_where_the_installation_wants_no_shards_and_lose_nothing_on_the_way() -> None:
    found = Region(most=MOST, models=20)
    for number in range(20):
        found.come(number)
    found.settle()
    assert len(found.tables) == SHARDS + 1
    found.upgrade(most=None)
    while found.write(0) or found.see(0) or found.see(1):
        found.check()
    assert list(found.tables) == ["eu-west"]
    assert [gateway.served() for gateway in found.gateways] == [found.versions] * 2


def test_shards_of_which_no_one_table_holds_all_stay_and_what_they_serve_is_kept_up_to_date() -> None:
    found = Region(most=MOST, models=8)
    for number in range(7):
        found.come(number)
    found.settle()
    found.upgrade(most=None)
    found.too_large.add("eu-west")
    found.change(1)
    found.go(2)
    found.come(7)
    found.settle()
    for gateway in found.gateways:
        assert gateway.served() == {name: version for name, version in found.versions.items() if name != "acme/m7"}
    found.upgrade(most=MOST)
    found.settle()
    assert [gateway.served() for gateway in found.gateways] == [found.versions] * 2


def waves() -> Iterator[tuple[str, int]]:
    for number in range(8):
        yield "come", number
    for number in range(8):
        yield "go", number


def test_all_models_come_and_go_with_an_end_after_every_write_and_every_acknowledgement() -> None:
    found = Region(most=MOST, models=8)
    layouts = []
    for action, number in waves():
        getattr(found, action)(number)
        while found.write(0) or found.see(0) or found.see(1):
            found.check()
        layouts.append(len(found.tables))
        for gateway in found.gateways:
            assert gateway.served() == found.versions
    assert layouts == [1] * 4 + [SHARDS + 1] * 9 + [1] * 3
