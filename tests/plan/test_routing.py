import pytest

from tests.plan.specs import model, region, world
from tomoul.plan.routing import plan_routing_table
from tomoul.plan.world import Key, World

REGIONS = (region("ap-south"), region("eu-west"), region("us-east"))


def aliases(found: World, at: str) -> dict[str, list[str]]:
    table = plan_routing_table(found, at)
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
    table = plan_routing_table(found, "eu-west")
    assert table is not None
    assert table["spec"]["models"][0]["fallback"] == fallback
