import pytest

from tests.plan.specs import model, region, world
from tomoul.api.region import Region
from tomoul.plan.naming import gateway_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.region import _shared_nodes, plan_region
from tomoul.plan.world import Facts, Key, NodeFact


def placed(name: str, **labels: str) -> Region:
    return region(name, placement={"nodeSelector": labels})


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (placed("us-east", zone="b"), False),
        (placed("us-east", zone="a"), True),
        (placed("us-east"), True),
        (placed("us-east", zone="a", spot="true"), True),
        (region("us-east", state="Disabled"), False),
    ],
)
def test_a_region_says_with_which_others_it_shares_its_nodes(other: Region, shared: bool) -> None:
    own = placed("eu-west", zone="a")
    assert ("`us-east`" in _shared_nodes(world(regions=(own, other)), own)) is shared
    elsewhere = world(regions=(own, other), hosted=frozenset({"eu-west"}))
    assert _shared_nodes(elsewhere, own) == ""


def test_of_a_region_that_is_hosted_elsewhere_nobody_says_how_many_models_are_ready() -> None:
    here = world(model(), regions=(region(), region("us-east")), hosted=frozenset({"eu-west"}))
    assert plan_region(here, "eu-west").status.models == "0/1"
    there = world(model(), hosted=frozenset({"us-east"}))
    assert plan_region(there, "eu-west").status.models == ""


def test_a_gateway_that_its_node_has_evicted_is_none_of_the_regions_gateways() -> None:
    pods = [PodFact("evicted", phase="Failed", failed_reason="Evicted"), PodFact("serving", ready=True)]
    facts = Facts(pods={Key("tomoul-system", gateway_name("eu-west")): pods})
    told = plan_region(world(facts=facts), "eu-west").status.gateways
    assert [gateway.name for gateway in told] == ["serving"]


def test_a_region_whose_label_no_node_has_names_it() -> None:
    pods = {Key("tomoul-system", gateway_name("eu-west")): [PodFact("waits", unschedulable="0/1 nodes are available")]}
    facts = Facts(pods=pods, nodes=[NodeFact("n", labels={"zone": "b"})])
    found = plan_region(world(regions=(placed("eu-west", zone="a"),), facts=facts), "eu-west").status
    assert {entry.message for entry in found.conditions} == {
        "Pod `waits`: 0/1 nodes are available; no node has `zone=a`, as the Region's `placement.nodeSelector` asks"
    }
