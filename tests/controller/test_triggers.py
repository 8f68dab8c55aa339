"""What a change has reconciled, from objects as the API server returns them."""

import asyncio
from typing import Any

import pytest

from tests.controller.watching import Object, Watching
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.surrounding_triggers import CAPACITY_DELAY
from tomoul.controller.triggers import Triggers
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

pytestmark = pytest.mark.looptime

API_VERSION = "tomoul.ai/v1alpha1"


@pytest.fixture
async def watching() -> Watching:
    eyes = Watching(Settings(hosted_regions=frozenset({"eu", "us"})))
    # Nothing is to be worked on yet: a fixture would wait for that by the real clock.
    eyes.observed.listener = lambda change: None
    for name in ("eu", "us", "elsewhere"):
        eyes.see(region(name))
    eyes.observed.listener = eyes.triggers
    return eyes


def meta(name: str, namespace: str = "", **more: Any) -> Object:
    return {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        **({"namespace": namespace} if namespace else {}),
        **more,
    }


def region(name: str, **spec: Any) -> Object:
    placement = {"nodeSelector": {"zone": name}}
    return {
        "apiVersion": API_VERSION,
        "kind": "Region",
        "metadata": meta(name),
        "spec": {"placement": placement, **spec},
    }


def model(name: str, *regions: str, model_id: str = "", programmed: str = "", generation: int = 1) -> Object:
    def row(region: str) -> Object:
        status = "True" if programmed == region else "False"
        return {"name": region, "conditions": [{"type": "RoutesProgrammed", "status": status, "reason": "X"}]}

    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {**meta(name, "models"), "generation": generation},
        "spec": {
            "model": {"id": model_id or f"org/{name}"},
            "source": {"file": {"path": "/m.gguf"}},
            "engine": {"type": "LlamaCpp"},
            "regions": [{"name": region} for region in regions],
        },
        "status": {"regions": [row(region) for region in regions]},
    }


def labels(name: str, region: str) -> dict[str, str]:
    if not name:
        return {"app.kubernetes.io/component": "gateway", "tomoul.ai/region": region}
    return {
        "app.kubernetes.io/component": "engine",
        "tomoul.ai/region": region,
        "tomoul.ai/model-deployment": name,
    }


def service(name: str, region: str) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta("s", "models", labels=labels(name, region))}


def pod(name: str, region: str, ready: bool) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta("p", "models", labels=labels(name, region)),
        "spec": {"containers": []},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


async def test_a_model_has_itself_its_regions_figures_and_every_hosted_table_looked_at(watching: Watching) -> None:
    watching.see(model("chat", "eu"))
    assert await watching.work() == {"model models/chat", "region eu", "table eu", "table us"}


async def test_a_model_that_only_got_another_status_causes_no_work(watching: Watching) -> None:
    watching.see(model("chat", "eu"))
    await watching.work()
    watching.see(model("chat", "eu", programmed="eu"))
    assert await watching.work() == set()
    found = next(iter(watching.observed.world().models.values()))
    assert found.status.regions[0].conditions[0].status == "True", "though it is known"


async def test_models_that_want_the_same_id_hear_of_each_other(watching: Watching) -> None:
    watching.see(model("first", "eu", model_id="org/same"))
    watching.see(model("second", "eu", model_id="org/same"))
    await watching.work()
    watching.see(model("first", "eu", model_id="org/same"), gone=True)
    assert "model models/second" in await watching.work()
    watching.see(model("second", "eu", model_id="org/other", generation=2))
    assert await watching.work() == {"model models/second", "region eu", "table eu", "table us"}


async def test_a_region_has_its_models_and_every_table_looked_at(watching: Watching) -> None:
    watching.see(model("chat", "eu"))
    watching.see(model("solo", "us"))
    await watching.work()
    changed = region("eu", state="Draining")
    changed["metadata"]["generation"] = 2
    watching.see(changed)
    assert await watching.work() == {"region eu", "region us", "model models/chat", "table eu", "table us"}


async def test_what_was_made_for_a_model_or_a_gateway_brings_its_owner(watching: Watching) -> None:
    watching.see(service("chat", "eu"))
    assert await watching.work() == {"model models/chat"}
    watching.see(service("chat", "eu"), gone=True)
    assert await watching.work() == {"model models/chat"}
    watching.see(service("", "eu"))
    assert await watching.work() == {"region eu"}


def deployment(revision: str) -> Object:
    template = {"metadata": {"labels": {"tomoul.ai/revision": revision}}, "spec": {"containers": []}}
    metadata = meta("d", "models", labels=labels("chat", "eu"))
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


async def test_a_table_hears_of_a_deployments_new_revision_even_from_the_answer_to_what_the_operator_wrote(
    watching: Watching,
) -> None:
    watching.see(deployment("a"))
    assert await watching.work() == {"model models/chat", "table eu"}
    watching.see(deployment("a") | {"status": {"replicas": 1}})
    assert await watching.work() == {"model models/chat"}
    with watching.observed.telling_owners(False):
        watching.see(deployment("b"))
    assert await watching.work() == {"table eu"}


def table(*acknowledged: tuple[str, int]) -> Object:
    gateways = [{"name": name, "acceptedGeneration": generation} for name, generation in acknowledged]
    return {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": meta("eu"),
        "spec": {"region": "eu"},
        "status": {"gateways": gateways},
    }


async def test_a_gateway_that_changes_brings_the_models_that_wait_for_their_routes_there(watching: Watching) -> None:
    watching.see(model("waiting", "eu", "us", programmed="us"))
    watching.see(model("routed", "eu", programmed="eu"))
    watching.see(model("other", "us"))
    await watching.work()
    watching.see(pod("", "eu", ready=False))
    assert await watching.work() == {"region eu", "model models/waiting"}
    watching.see(table(("p", 1)))
    await watching.work()
    watching.see(table(("p", 2)))
    assert await watching.work() == {"region eu", "model models/waiting", "table eu"}


async def test_models_that_are_routed_hear_of_gateways_that_come_to_life_acknowledge_first_and_go(
    watching: Watching,
) -> None:
    watching.see(model("routed", "eu", programmed="eu"))
    watching.see(model("other", "us"))
    await watching.work()
    watching.see(pod("", "eu", ready=True))
    assert await watching.work() == {"region eu", "model models/routed"}
    watching.see(table(("p", 1)))
    assert await watching.work() == {"region eu", "model models/routed", "table eu"}
    ending = pod("", "eu", ready=True)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    watching.see(ending)
    assert await watching.work() == {"region eu", "model models/routed"}
    watching.see(ending, gone=True)
    assert await watching.work() == {"region eu", "table eu"}


async def test_a_model_that_is_routed_hears_that_a_gateway_has_the_first_endpoint_of_it_or_none_any_more(
    watching: Watching,
) -> None:
    def said(*lacking: str) -> Object:
        pool = {"name": "default", "namespace": "models", "service": "chat-pool", "port": 8000}
        cache = {"mode": "Shared", "noStore": "Refuse"}
        route = {"id": "org/chat", "regions": ["eu"], "cache": cache, "pools": [pool]}
        item = table(("p", 1))
        item["spec"] |= {"models": [route]}
        item["status"]["gateways"][0]["poolsWithoutEndpoints"] = list(lacking)
        return item

    watching.see(model("chat", "eu", programmed="eu"))
    watching.see(model("other", "eu", programmed="eu"))
    watching.see(said("models/chat-pool"))
    await watching.work()
    watching.see(said())
    assert await watching.work() == {"region eu", "model models/chat", "table eu"}
    watching.see(said("models/chat-pool", "models/another"))
    assert await watching.work() == {"region eu", "model models/chat", "table eu"}


async def test_a_table_hears_of_kinds_of_prompt_caches_that_come_and_go(watching: Watching) -> None:
    def engine(name: str, cache: str) -> Object:
        item = pod("chat", "eu", ready=True)
        item["metadata"]["name"] = name
        item["metadata"]["labels"] |= {"tomoul.ai/prompt-cache": cache}
        return item

    watching.see(engine("a", "salted"))
    assert "table eu" in await watching.work()
    watching.see(engine("b", "salted"))
    assert "table eu" not in await watching.work()
    watching.see(engine("c", "none"))
    assert "table eu" in await watching.work()
    watching.see(engine("a", "salted"), gone=True)
    assert "table eu" not in await watching.work()
    watching.see(engine("b", "salted"), gone=True)
    assert "table eu" in await watching.work()


async def test_all_tables_hear_of_pods_that_have_other_adapters_than_those_before(watching: Watching) -> None:
    def engine(name: str, adapters: str) -> Object:
        item = pod("chat", "eu", ready=True)
        item["metadata"] |= {"name": name, "annotations": {"tomoul.ai/adapters": adapters}}
        return item

    tables = {"table eu", "table us"}
    watching.see(engine("a", '{"x":{}}'))
    assert tables <= await watching.work()
    watching.see(engine("b", '{"x":{}}'))
    assert not tables & await watching.work()
    watching.see(engine("a", '{"x":{}}'), gone=True)
    assert not tables & await watching.work()
    watching.see(engine("b", '{"x":{}}'), gone=True)
    assert tables <= await watching.work()


async def test_an_acknowledgement_brings_a_model_that_is_just_being_worked_on(watching: Watching) -> None:
    watching.see(model("chat", "eu", programmed="eu"))
    await watching.work()
    watching.queue.add(WorkKey(Kind.MODEL, "models", "chat"))
    key = await watching.queue.get()  # a worker is about to write that its routes are not programmed
    table = {"apiVersion": API_VERSION, "kind": "RoutingTable", "metadata": meta("eu"), "spec": {"region": "eu"}}
    watching.see(table)
    watching.queue.done(key)
    assert "model models/chat" in await watching.work()


async def test_a_node_brings_the_figures_of_its_regions_and_a_heartbeat_nothing(
    watching: Watching,
) -> None:
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta("n", labels={"zone": "eu"}),
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    watching.see(node)
    assert await watching.work() == {"region eu"}
    node["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z"
    watching.see(node)
    assert await watching.work() == set()
    node["metadata"]["labels"] = {"zone": "us"}
    watching.see(node)
    assert await watching.work() == {"region eu", "region us"}


async def test_gateways_that_tell_no_calls_bring_the_models_that_scale_in_their_region(watching: Watching) -> None:
    for name, place in (("here", "eu"), ("there", "us")):
        item = model(name, place)
        item["spec"]["regions"][0]["scaling"] = {"minReplicas": 0, "maxReplicas": 2, "targetInFlight": 8}
        watching.see(item)
    watching.see(model("fixed", "eu"))
    await watching.work()
    watching.triggers.around.scaled("eu")
    assert await watching.work() == {"model models/here"}


async def test_a_node_that_is_lost_or_comes_back_brings_the_models_whose_pods_there_are_not_ready(
    watching: Watching,
) -> None:
    for name, ready in (("loading", False), ("serving", True)):
        found = pod(name, "eu", ready=ready)
        found["metadata"] |= {"name": name, "uid": name}
        found["spec"]["nodeName"] = "n"
        watching.see(found)
    node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": meta("n", labels={"zone": "eu"})}
    node["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    watching.see(node)
    await watching.work()
    for status in ("Unknown", "True"):
        node["status"]["conditions"][0]["status"] = status
        watching.see(node)
        assert await watching.work() == {"model models/loading", "region eu"}
    node["status"]["conditions"][0]["status"] = "Unknown"
    watching.see(node)
    await watching.work()
    watching.see(node, gone=True)
    assert await watching.work() == {"model models/loading", "region eu"}


async def test_a_region_that_comes_brings_the_others_which_say_with_whom_they_share_nodes(watching: Watching) -> None:
    watching.see(region("ap"))
    assert {"region eu", "region us"} <= await watching.work()
    watching.see(region("ap"), gone=True)
    assert {"region eu", "region us"} <= await watching.work()


async def test_a_node_of_other_cpus_brings_the_models_there_that_repeat_their_answers_on_cpus(
    watching: Watching,
) -> None:
    repeating = model("repeating", "eu", "us")
    repeating["spec"]["capabilities"] = {"seed": "Deterministic"}
    watching.see(repeating)
    watching.see(model("chat", "eu"))
    await watching.work()
    node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": meta("n", labels={"zone": "eu"})}
    watching.see(node)
    assert await watching.work() == {"region eu"}
    node["metadata"]["labels"] = {"zone": "eu", "kubernetes.io/arch": "arm64"}
    watching.see(node)
    # All tables: those of regions without the model say what its seeds are worth where it is.
    assert await watching.work() == {"region eu", "model models/repeating", "table eu", "table us"}


async def test_an_engines_pod_brings_its_model_and_its_regions_figures(watching: Watching) -> None:
    watching.see(pod("chat", "eu", ready=False))
    await watching.work()
    watching.see(pod("chat", "eu", ready=False))
    assert await watching.work() == set()
    watching.see(pod("chat", "eu", ready=True))
    assert await watching.work() == {"model models/chat", "region eu"}


async def test_an_object_that_became_invalid_goes_on_as_what_it_was(watching: Watching) -> None:
    watching.see(model("chat", "eu"))
    await watching.work()
    broken = model("chat", "eu", generation=2)
    broken["spec"]["engine"]["type"] = "Steam"
    watching.see(broken)
    assert "model models/chat" in await watching.work()
    assert [found.spec.engine.type for found in watching.observed.world().models.values()] == ["LlamaCpp"]
    watching.see(broken, gone=True)
    assert not watching.observed.world().models


async def test_what_was_never_read_is_known_to_exist_until_it_is_read_or_goes(watching: Watching) -> None:
    broken = region("mars", state="Later")
    watching.see(broken)
    later = model("chat", "eu")
    later["spec"]["engine"]["type"] = "Steam"
    watching.see(later)
    world = watching.observed.world()
    assert set(world.unreadable_regions) == {"mars"}
    assert world.unreadable_models == {Key("models", "chat"): "org/chat"}
    watching.see(region("mars"))
    watching.see(later, gone=True)
    assert not world.unreadable_regions
    assert not world.unreadable_models


async def test_pods_are_found_by_their_deployment(watching: Watching) -> None:
    item = pod("chat", "eu", ready=True)
    item["metadata"]["labels"]["pod-template-hash"] = "abc"
    item["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "chat-eu-abc"}]
    watching.see(item)
    found = watching.observed.world().facts.pods
    assert [(key.name, [fact.name for fact in facts]) for key, facts in found.items()] == [("chat-eu", ["p"])]
    watching.see(item, gone=True)
    assert not watching.observed.world().facts.pods


async def test_only_models_that_wait_for_gpus_are_looked_at_when_a_regions_capacity_changes(watching: Watching) -> None:
    waiting = model("waiting", "eu", "us")
    waiting["status"]["regions"][0]["gpusNeeded"] = 8
    watching.see(waiting)
    watching.see(model("served", "eu"))
    await watching.work()
    triggers = Triggers(watching.observed, watching.queue)
    triggers.around.capacity("us")
    await asyncio.sleep(CAPACITY_DELAY)
    assert await watching.work() == set()
    triggers.around.capacity("eu")
    assert await watching.work() == set(), "more may change"
    await asyncio.sleep(CAPACITY_DELAY)
    assert await watching.work() == {"model models/waiting"}


async def test_models_that_wait_for_gpus_hear_of_a_node_whose_labels_change(watching: Watching) -> None:
    waiting = model("waiting", "eu")
    waiting["status"]["regions"][0]["gpusNeeded"] = 8
    watching.see(waiting)
    node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": meta("n", labels={"zone": "eu"})}
    watching.see(node)
    await watching.work()
    await asyncio.sleep(CAPACITY_DELAY)
    await watching.work()
    # As many GPUs as before, so that the Region has nothing new to tell.
    node["metadata"]["labels"] = {"zone": "eu", "nvidia.com/gpu.product": "NVIDIA-L4"}
    watching.see(node)
    await asyncio.sleep(CAPACITY_DELAY)
    assert await watching.work() == {"region eu", "model models/waiting"}


async def test_a_namespace_whose_jurisdictions_change_has_its_models_and_all_tables_reconciled(
    watching: Watching,
) -> None:
    watching.see(model("chat", "eu"))
    await watching.work()
    watching.see({"kind": "Namespace", "metadata": meta("models")})
    assert await watching.work() == {"model models/chat"}, "it may wait for it"
    watching.see({"kind": "Namespace", "metadata": meta("models", labels={"team": "a"})})
    assert await watching.work() == set()
    watching.see({"kind": "Namespace", "metadata": meta("models", labels={"tomoul.ai/jurisdictions": "EU"})})
    assert await watching.work() == {"model models/chat", "table eu", "table us"}
    watching.see({"kind": "Namespace", "metadata": meta("models")}, gone=True)
    assert await watching.work() == {"model models/chat", "table eu", "table us"}


async def test_a_table_that_took_long_to_write_waits_longer_for_more_changes(watching: Watching) -> None:
    watching.triggers.tables.written("eu", 0.5)
    watching.see(model("chat", "eu", "us"))
    assert await watching.work() == {"model models/chat", "region eu", "region us", "table us"}
    assert await watching.work() == set()
    assert await watching.work() == {"table eu"}
    watching.see(model("chat", "eu", "us", generation=2))
    assert "table eu" in await watching.work(), "a change that comes later is not held back"
