import pytest

from tests.plan.specs import region, world
from tomoul.api.region import Region
from tomoul.plan.region import _shared_nodes


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
