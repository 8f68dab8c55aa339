"""What a key may reach: regions, models, and a prompt cache."""

from tests.gateway.keys import NAMESPACE, derived
from tests.gateway.regions import BOTH, Regions, refused
from tests.gateway.wire import reply


def test_a_pin_to_a_region_that_the_key_may_not_be_used_in_is_403(regions: Regions) -> None:
    regions.publish({"eu": {"regions": ["eu-west"]}, "us": {"regions": ["us-east"]}})
    assert regions.chat("eu", region="eu-west").status == 200
    assert regions.chat("us", region="us-east").status == 200
    regions.served()
    for tenant, region in (("eu", "us-east"), ("us", "eu-west")):
        answer = refused(regions.chat(tenant, region=region), 403, "region_not_permitted")
        assert answer.error["param"] == "X-Tomoul-Region"
        own = {"eu": ["eu-west"], "us": ["us-east"]}[tenant]
        assert answer.error["available_regions"] == own
        assert refused(regions.chat(tenant, region="mars"), 400, "unknown_region").error["available_regions"] == own
    assert regions.served() == []


def test_a_key_for_one_region_is_never_answered_elsewhere_when_nothing_is_ready_there(regions: Regions) -> None:
    regions.publish({"free": {}, "eu": {"regions": ["eu-west"]}}, without=["both"])
    assert regions.chat("free").header("x-tomoul-region") == "us-east"
    regions.served()
    for _ in range(5):
        answer = refused(regions.chat("eu"), 503, "region_capacity_unavailable")
        assert int(answer.header("retry-after") or 99) <= 60
    assert regions.served() == []


def test_a_key_for_one_region_is_never_answered_elsewhere_when_all_pods_there_refuse(regions: Regions) -> None:
    regions.publish({"eu": {"regions": ["eu-west"]}})
    regions.engines["both"].behave = lambda request: reply(503, b'{"error":{"message":"full"}}')
    for _ in range(5):
        refused(regions.chat("eu"), 503, "region_capacity_unavailable")
    assert set(regions.served()) == {"both"}


def test_a_key_for_another_region_is_never_answered_here(regions: Regions) -> None:
    regions.publish({"us": {"regions": ["us-east"]}})
    for _ in range(5):
        assert regions.chat("us").header("x-tomoul-region") == "us-east"
    assert set(regions.served()) == {"us-both"}
    regions.publish({"us": {"regions": ["us-east"]}}, us_port=1)
    for _ in range(3):
        refused(regions.chat("us"), 503, "region_capacity_unavailable")
    assert regions.served() == []


def test_a_key_for_a_region_that_would_not_answer_is_403_with_the_regions_to_name(regions: Regions) -> None:
    regions.publish({"us": {"regions": ["us-east"]}, "south": {"regions": ["ap-south"]}})
    # acme/eu has no fallback.
    answer = refused(regions.chat("us", model="acme/eu"), 403, "region_not_permitted")
    assert answer.error["available_regions"] == []
    assert answer.error["message"] == "The API key may not be used in any region that has the model `acme/eu`"
    refused(regions.chat("south"), 403, "region_not_permitted")
    refused(regions.chat("south", model="acme/far"), 403, "region_not_permitted")
    assert regions.served() == []


def test_a_key_for_some_of_the_regions_goes_to_the_first_of_them_with_capacity_and_is_known_there(
    regions: Regions,
) -> None:
    regions.publish({"two": {"regions": BOTH}}, south=True)
    assert regions.chat("two").header("x-tomoul-region") == "eu-west"
    regions.publish({"two": {"regions": BOTH}}, south=True, without=["both"])
    assert regions.chat("two").header("x-tomoul-region") == "us-east"
    assert regions.served() == ["both", "us-both"]


def test_a_key_for_all_regions_that_may_answer_falls_back_as_one_for_all_does(regions: Regions) -> None:
    regions.publish({"two": {"regions": BOTH}}, without=["both"])
    assert regions.chat("two").header("x-tomoul-region") == "us-east"


def test_a_model_that_a_key_may_not_call_is_not_there(regions: Regions) -> None:
    regions.publish({"picky": {"models": ["acme/both"]}})
    assert regions.chat("picky").status == 200
    assert regions.chat("picky", model="both").status == 200, "an alias is the model"
    regions.served()
    for region in (None, "eu-west", "us-east"):
        hidden = refused(
            regions.chat("picky", model="acme/far", region=region), 404, "model_not_found", region or "eu-west"
        )
        unknown = regions.chat("picky", model="acme/fog", region=region)
        assert hidden.body.replace(b"acme/far", b"acme/fog") == unknown.body
    assert regions.served() == []


def test_models_show_what_the_key_may_use(regions: Regions) -> None:
    regions.publish(
        {
            "free": {},
            "picky": {"models": ["acme/both"]},
            "eu": {"regions": ["eu-west"]},
            "south": {"regions": ["ap-south"]},
        }
    )

    def shown(tenant: str) -> dict[str, list[str]]:
        return {each["id"]: each["regions"] for each in regions.get("/v1/models", tenant).json()["data"]}

    assert shown("free") == {"acme/both": BOTH, "acme/eu": ["eu-west"], "acme/far": ["us-east"]}
    assert shown("picky") == {"acme/both": BOTH}
    assert shown("eu") == {"acme/both": ["eu-west"], "acme/eu": ["eu-west"]}
    assert shown("south") == {}
    assert regions.get("/v1/models/acme/both", "eu").json()["regions"] == ["eu-west"]
    refused(regions.get("/v1/models/acme/far", "eu"), 404, "model_not_found")
    refused(regions.get("/v1/models/acme/far", "picky"), 404, "model_not_found")
    assert regions.get("/v1/models/acme/far", "free").json()["regions"] == ["us-east"]


def test_a_tenant_that_requires_a_region_is_refused_without_one_though_the_model_requires_none(
    regions: Regions,
) -> None:
    regions.publish({"strict": {"requireRegion": True}})
    refused(regions.chat("strict"), 400, "region_required")
    # Neither header that HTTP/1.1 removes on the way opens it.
    removed = [("Connection", "X-Tomoul-Region"), ("X-Tomoul-Region", "eu-west")]
    refused(regions.chat("strict", headers=removed), 400, "region_required")
    assert regions.served() == []
    assert regions.chat("strict", region="us-east").status == 200
    assert regions.get("/v1/models", "strict").status == 200


def test_a_tenants_salt_is_its_own_and_the_same_in_every_region(regions: Regions) -> None:
    regions.publish({"free": {}, "other": {}})
    for tenant in ("free", "other"):
        for region in BOTH:
            assert regions.chat(tenant, region=region).status == 200
    salts = [request.json()["cache_salt"] for name in ("both", "us-both") for request in regions.engines[name].received]
    own = [derived(f"{NAMESPACE}/{tenant}", "acme/both") for tenant in ("free", "other")]
    assert salts == own * 2
    assert own[0] != own[1] != derived("anonymous", "acme/both")
