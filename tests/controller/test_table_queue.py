"""Which tables a change has looked at where a region's models are in shards, by objects as in the API server."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.controller.watching import Object, Watching
from tomoul.plan.labels import gateway_labels
from tomoul.plan.naming import gateway_name, shard_name
from tomoul.plan.settings import Settings
from tomoul.plan.shards import shard_names, shard_of
from tomoul.plan.world import Key

pytestmark = pytest.mark.looptime

API_VERSION = "tomoul.ai/v1alpha1"
REGIONS = ("eu", "us")


def meta(name: str, namespace: str = "", **more: Any) -> Object:
    found = {"name": name, "uid": f"uid-{name}", "generation": 1, **more}
    return found | ({"namespace": namespace} if namespace else {})


def table(name: str, routes: Sequence[Object] = (), gateways: Sequence[Object] = (), generation: int = 1) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": meta(name, generation=generation),
        "spec": {"region": name.partition(".")[0], "models": list(routes)},
        "status": {"gateways": list(gateways)},
    }


def route(model_id: str, *aliases: str) -> Object:
    cache = {"mode": "Tenant", "noStore": "Refuse"}
    return {"id": model_id, "aliases": list(aliases), "regions": ["eu"], "cache": cache}


def model(name: str, *aliases: str, generation: int = 1, status: str = "False") -> Object:
    condition = {"type": "RoutesProgrammed", "status": status, "reason": "X"}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": meta(name, "models", generation=generation),
        "spec": {
            "model": {"id": f"org/{name}", "aliases": list(aliases)},
            "source": {"file": {"path": "/m.gguf"}},
            "engine": {"type": "LlamaCpp"},
            "regions": [{"name": "eu"}],
        },
        "status": {"regions": [{"name": "eu", "conditions": [condition]}]},
    }


def gateway_pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(
            "g",
            "tomoul-system",
            labels={**gateway_labels("eu"), "pod-template-hash": "1"},
            ownerReferences=[{"kind": "ReplicaSet", "name": f"{gateway_name('eu')}-1"}],
        ),
        "spec": {"containers": []},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def shards(*names: str, regions: Sequence[str] = REGIONS) -> set[str]:
    return {f"table {shard_name(region, shard_of(f'org/{name}'))}" for name in names for region in regions}


class Sharded(Watching):
    """Of two regions whose models are in shards; it lists tables unless told otherwise."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.observed.listener = lambda change: None
        for region in REGIONS:
            self.see({"apiVersion": API_VERSION, "kind": "Region", "metadata": meta(region), "spec": {"placement": {}}})
            for name in (region, *shard_names(region)):
                self.see(table(name))
        self.observed.listener = self.triggers

    async def work(self, kind: str = "table") -> set[str]:
        return await super().work(kind)


@pytest.fixture
async def eyes() -> Sharded:
    return Sharded()


async def test_a_change_of_a_model_has_its_shard_in_each_region_looked_at(eyes: Sharded) -> None:
    eyes.see(model("chat"))
    assert await eyes.work() == shards("chat") | {"table eu", "table us"}, "there is one more"
    eyes.see(model("chat", generation=2))
    assert await eyes.work() == shards("chat")
    eyes.see(model("chat", generation=2), gone=True)
    assert await eyes.work() == shards("chat") | {"table eu", "table us"}


async def test_a_name_that_goes_from_one_model_to_another_has_the_shards_of_both_looked_at(eyes: Sharded) -> None:
    eyes.see(model("chat", "best"))
    eyes.see(model("other"))
    await eyes.work()
    assert shards("chat") != shards("other")
    eyes.see(model("other", "best", generation=2))
    assert await eyes.work() >= shards("chat", "other")
    eyes.see(model("chat", generation=2))
    assert await eyes.work() >= shards("chat", "other")


async def test_an_entry_that_still_has_a_name_which_its_model_has_not_is_looked_at_when_another_takes_it(
    eyes: Sharded,
) -> None:
    eyes.see(model("chat"))
    (kept,) = shards("chat", regions=["eu"])
    eyes.see(table(kept.removeprefix("table "), [route("org/chat", "best")], generation=2))
    await eyes.work()
    eyes.see(model("other", "best"))
    assert await eyes.work() >= {kept, *shards("other")}


async def test_what_becomes_of_a_model_is_looked_at_in_the_shards_of_those_that_serve_an_adapter_of_its_elsewhere(
    eyes: Sharded,
) -> None:
    for name in ("chat", "other"):
        found = model(name)
        found["spec"]["adapters"] = [{"id": "org/legal", "source": {"file": {"path": "/a"}}}]
        eyes.see(found)
    await eyes.work()
    eyes.triggers.tables.models([Key("models", "chat")])
    assert await eyes.work() == shards("chat", "other")


async def test_a_tenant_has_the_first_tables_looked_at_and_a_region_has_all(eyes: Sharded) -> None:
    tenant = {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": meta("acme", "models"),
        "spec": {"apiKeys": {"secretName": "keys"}},
    }
    eyes.see(tenant)
    assert await eyes.work() == {"table eu", "table us"}
    eyes.see({"apiVersion": API_VERSION, "kind": "Region", "metadata": meta("new"), "spec": {"placement": {}}})
    every = {f"table {name}" for region in REGIONS for name in (region, *shard_names(region))}
    assert await eyes.work() == every | {"table new"}


async def test_what_gateways_say_of_a_shard_brings_those_of_its_models_that_wait_for_it(eyes: Sharded) -> None:
    eyes.see(model("waiting"))
    eyes.see(model("routed", status="True"))
    eyes.see(model("others"))
    await eyes.work()
    assert len(shards("waiting", "routed", "others", regions=["eu"])) == 3
    for name, brought in (("waiting", {"model models/waiting"}), ("routed", set())):
        shard = shard_name("eu", shard_of(f"org/{name}"))
        for generation in (1, 2):
            eyes.see(table(shard, gateways=[{"name": "a", "acceptedGeneration": generation}]))
            found = await eyes.work("")
        assert found == {"region eu", f"table {shard}", *brought}


async def test_a_gateway_that_has_a_shard_for_the_first_time_brings_all_its_models_if_that_is_where_they_are(
    eyes: Sharded,
) -> None:
    eyes.see(model("routed", status="True"))
    await eyes.work()
    shard = shard_name("eu", shard_of("org/routed"))
    eyes.see(table(shard, gateways=[{"name": "a", "acceptedGeneration": 1}]))
    assert await eyes.work("model") == {"model models/routed"}
    eyes.see(table("eu", [route("org/routed")], generation=2))
    await eyes.work()
    eyes.see(table(shard, gateways=[{"name": name, "acceptedGeneration": 1} for name in ("a", "b")]))
    assert await eyes.work("model") == set(), "the table that it comes from is what counts"


async def test_a_gateway_that_is_gone_has_all_tables_looked_at_for_what_it_said(eyes: Sharded) -> None:
    pod = gateway_pod()
    eyes.see(pod)
    assert await eyes.work() == set()
    eyes.see(pod, gone=True)
    assert await eyes.work() == {"table eu", *(f"table {name}" for name in shard_names("eu"))}


async def test_while_routes_are_on_their_way_all_tables_of_the_region_are_one_piece_of_work(eyes: Sharded) -> None:
    eyes.see(table("eu", [route("org/chat")], generation=2))
    await eyes.work()
    eyes.see(model("chat"))
    assert await eyes.work() == {"table eu", "table us", *shards("chat", regions=["us"])}


async def test_tables_of_a_region_wait_ten_times_as_long_as_they_took_together_and_those_of_others_do_not(
    eyes: Sharded,
) -> None:
    for name in shard_names("eu"):
        eyes.triggers.tables.written(name, 0.03)
    eyes.see(model("chat"))
    assert await eyes.work() == {"table us", *shards("chat", regions=["us"])}
    await asyncio.sleep(2)
    assert await eyes.work() == {"table eu", *shards("chat", regions=["eu"])}
    eyes.see(model("chat", generation=2))
    assert await eyes.work() == shards("chat"), "a change that comes later is not held back"


async def test_a_shard_is_not_looked_at_for_what_the_operator_wrote_or_a_gateway_that_is_there_said(
    eyes: Sharded,
) -> None:
    eyes.see(gateway_pod())
    with eyes.observed.telling_owners(False):
        eyes.see(table("eu.03", [route("org/chat")], generation=2))
    assert await eyes.work() == set()
    said = [{"name": "g", "acceptedGeneration": 2}]
    eyes.see(table("eu.03", [route("org/chat")], said, generation=2))
    assert await eyes.work() == set()
    eyes.see(table("eu.03", [route("org/chat")], [*said, {"name": "gone", "acceptedGeneration": 2}], generation=2))
    assert await eyes.work() == {"table eu.03"}
    eyes.see(table("eu.03", generation=3))
    assert await eyes.work() == {"table eu.03"}, "somebody else wrote it"
