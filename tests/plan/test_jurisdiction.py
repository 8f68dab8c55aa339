from dataclasses import replace

import pytest

from tests.plan.specs import KEY, model, region, world
from tomoul.api.meta import LABEL_JURISDICTIONS
from tomoul.plan.claims import claims
from tomoul.plan.jurisdiction import allowed_jurisdictions
from tomoul.plan.planner import plan
from tomoul.plan.world import World

TARGETS = [{"name": "eu-west", "replicas": 1}, {"name": "us-east", "replicas": 1}]


def labelled(text: str | None) -> World:
    """A model in two regions, in a namespace with that label."""
    found = world(
        model(regions=TARGETS), regions=(region("eu-west", jurisdiction="EU"), region("us-east", jurisdiction="US"))
    )
    allowed = allowed_jurisdictions({} if text is None else {LABEL_JURISDICTIONS: text})
    return found if allowed is None else replace(found, jurisdictions={KEY.namespace: allowed})


def refused(found: World) -> dict[str, str]:
    """What is said of each region in which the model is not accepted."""
    rows = plan(found).models[KEY].status.regions
    accepted = {row.name: next(c for c in row.conditions if c.type == "Accepted") for row in rows}
    return {name: f"{c.reason}: {c.message}" for name, c in accepted.items() if c.status != "True"}


@pytest.mark.parametrize(
    ("label", "forbidden"), [(None, set()), ("EU_US", set()), ("EU", {"us-east"}), ("", {"eu-west", "us-east"})]
)
def test_a_model_runs_only_in_the_jurisdictions_that_its_namespaces_label_names(
    label: str | None, forbidden: set[str]
) -> None:
    found = labelled(label)
    assert refused(found).keys() == forbidden
    kinds = {(obj["kind"], obj["metadata"]["labels"]["tomoul.ai/region"]) for obj in plan(found).models[KEY].objects}
    assert {name for kind, name in kinds if kind == "Deployment"} == {"eu-west", "us-east"} - forbidden
    for name, table in plan(found).tables.items():
        assert all(name not in forbidden for route in table["spec"]["models"] for name in route["regions"]), name


def test_the_refusal_names_the_field_the_label_and_the_way_out() -> None:
    assert refused(labelled("CH_EU"))["us-east"] == (
        "JurisdictionForbidden: spec.regions[1].name: Region `us-east` is in jurisdiction `US`; namespace `models` "
        "allows `CH`, `EU` by its label `tomoul.ai/jurisdictions`: use a region of those, or have the label changed"
    )


def test_a_region_that_states_no_jurisdiction_is_in_none_of_those_asked_for() -> None:
    found = world(model(), regions=(region("eu-west"),))
    found = replace(found, jurisdictions={KEY.namespace: frozenset({"EU"})})
    assert "states no jurisdiction" in refused(found)["eu-west"]


def test_namespaces_are_told_apart() -> None:
    found = replace(labelled(None), jurisdictions={"others": frozenset({"EU"})})
    assert refused(found) == {}
    assert claims(found.models).claimants("acme/chat")


def test_weights_that_must_stay_in_a_jurisdiction_are_brought_to_no_region_of_another() -> None:
    source = {"file": {"path": "/models/a.gguf"}, "jurisdiction": "EU"}
    regions = (region("eu-west", jurisdiction="EU"), region("us-east", jurisdiction="US"))
    found = world(model(regions=TARGETS, source=source), regions=regions)
    assert refused(found) == {
        "us-east": "JurisdictionForbidden: spec.source.jurisdiction: the weights must stay in jurisdiction `EU`, and "
        "Region `us-east` is in jurisdiction `US`: take the region out of `spec.regions`, or use a source that may "
        "leave"
    }
    assert "us-east" not in {obj["metadata"]["labels"]["tomoul.ai/region"] for obj in plan(found).models[KEY].objects}


def test_weights_that_must_stay_in_a_jurisdiction_go_to_no_region_that_states_none() -> None:
    found = world(model(source={"file": {"path": "/models/a.gguf"}, "jurisdiction": "EU"}), regions=(region(),))
    assert "Region `eu-west` states no jurisdiction" in refused(found)["eu-west"]
