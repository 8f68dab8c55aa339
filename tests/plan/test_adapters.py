import json
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import KEY, model, planned_table, region, spec, world
from tomoul.api.cache import CacheMode
from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import ANNOTATION_ADAPTERS
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.routingtable import GatewayAuth, ModelRoute, RoutingTable
from tomoul.plan.acceptance import refusals
from tomoul.plan.claims import claims
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.isolation import isolated
from tomoul.plan.model import plan_model
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.pods import engine_pod
from tomoul.plan.routing import model_route
from tomoul.plan.settings import Settings
from tomoul.plan.world import Facts, Key, World

LEGAL = {"id": "acme/legal", "source": {"file": {"path": "/models/legal"}}}
POEMS = {"id": "acme/poems", "source": {"file": {"path": "/models/poems"}}, "rank": 24}
ODD = LEGAL | {"source": {"file": {"path": "/a,b"}}}
POOL = Key("models", pool_name("chat", "eu-west", "default"))
ENGINES = ("VLLM", "SGLang", "LlamaCpp")


def with_adapters(*adapters: dict[str, Any], engine: str = "VLLM", **fields: Any) -> ModelDeployment:
    return model(engine=engine, adapters=list(adapters or (LEGAL, POEMS)), **fields)


def annotation(found: ModelDeployment) -> str:
    annotations = engine_pod(found, region(), "default", Settings())["metadata"].get("annotations", {})
    return str(annotations.get(ANNOTATION_ADAPTERS, ""))


def served(found: World, name: str = "eu-west") -> dict[str, ModelRoute]:
    table = planned_table(found, name)
    assert table is not None
    return {route.id: route for route in RoutingTable.model_validate(table).spec.models}


def with_pods(found: World, *adapters: str, pool: Key = POOL) -> World:
    pods = [PodFact(name=f"pod-{index}", adapters=text) for index, text in enumerate(adapters)]
    return replace(found, facts=Facts(pods={**found.facts.pods, pool: pods}))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_adapter_is_a_model_of_its_own_at_the_pools_of_its_base(engine: str) -> None:
    routes = served(world(with_adapters(engine=engine, capabilities={"jsonMode": True})))
    assert list(routes) == ["acme/chat", "acme/legal", "acme/poems"]
    base, legal = routes["acme/chat"], routes["acme/legal"]
    assert (base.adapter_of, legal.adapter_of) == (None, "acme/chat")
    same = {"adapter_of": None, "set_fields": (), "id": base.id}
    assert legal.model_copy(update=same) == base.model_copy(update=same)
    assert base.set_fields == ()


def test_each_engine_is_told_in_its_own_way_which_adapter_is_meant() -> None:
    told = {
        engine: {field.name: json.loads(field.value) for field in served(world(with_adapters(engine=engine)))[
            "acme/poems"
        ].set_fields}
        for engine in ENGINES
    }  # fmt: skip
    assert told == {
        "VLLM": {},
        "SGLang": {"lora_path": "acme/poems"},
        "LlamaCpp": {"lora": [{"id": 1, "scale": 1}]},
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_what_tells_an_engine_which_adapter_is_meant_is_never_a_clients(engine: str) -> None:
    found = with_adapters(engine=engine)
    for each in (found, model(engine=engine)):
        removed = engine_of(each.spec).body_fields(each.spec).remove
        assert set(engine_of(found.spec).adapter_fields(found.spec, 0)) <= set(removed)
        assert served(world(each))["acme/chat"].remove_fields == removed


def test_vllm_keeps_room_for_the_highest_rank_and_for_all_adapters_at_once() -> None:
    args = list(engine_of(spec()).container(with_adapters().spec, "default").args)
    assert args[args.index("--max-lora-rank") + 1] == "32"
    assert args[args.index("--max-loras") + 1] == "2"
    modules = args[args.index("--lora-modules") + 1 :][:2]
    assert [json.loads(each) for each in modules] == [
        {"name": "acme/legal", "path": "/models/legal"},
        {"name": "acme/poems", "path": "/models/poems"},
    ]


def test_an_adapter_is_routed_only_once_every_pod_has_it() -> None:
    found = world(with_adapters(LEGAL, POEMS))
    both, old = annotation(with_adapters(LEGAL, POEMS)), annotation(with_adapters(LEGAL))
    assert set(served(with_pods(found, both, old))) == {"acme/chat", "acme/legal"}
    assert set(served(with_pods(found, both, ""))) == {"acme/chat"}
    assert set(served(with_pods(found, both, both))) == {"acme/chat", "acme/legal", "acme/poems"}


def test_pods_of_a_canary_and_of_the_pool_without_a_cache_have_to_have_it_too() -> None:
    found = world(with_adapters(cache={"mode": "Tenant", "noStore": "NotStored"}))
    for pool in ("no-store", "canary"):
        key = Key("models", pool_name("chat", "eu-west", pool))  # type: ignore[arg-type]
        assert set(served(with_pods(found, "", pool=key))) == {"acme/chat"}


def test_llama_cpp_which_knows_adapters_by_their_place_is_not_asked_while_places_differ() -> None:
    found = world(with_adapters(POEMS, engine="LlamaCpp"))
    before = annotation(with_adapters(LEGAL, POEMS, engine="LlamaCpp"))
    assert set(served(with_pods(found, before))) == {"acme/chat"}
    # The others know them by name.
    before = annotation(with_adapters(LEGAL, POEMS))
    assert set(served(with_pods(world(with_adapters(POEMS)), before))) == {"acme/chat", "acme/poems"}


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '"acme/legal"', '{"acme/legal":1}'])
def test_what_somebody_else_wrote_into_the_annotation_is_no_adapter(text: str) -> None:
    assert set(served(with_pods(world(with_adapters(LEGAL)), text))) == {"acme/chat"}


def test_the_status_says_which_adapters_wait_for_which_pods() -> None:
    found = with_pods(world(with_adapters()), annotation(with_adapters(LEGAL)), "")
    (row,) = plan_model(found, KEY).status.regions
    (told,) = (each for each in row.conditions if each.type == ConditionType.ADAPTERS_READY)
    assert (told.status, told.reason) == ("False", Reason.ROLLOUT_IN_PROGRESS)
    assert "`acme/legal` is not routed: 1 pods" in told.message
    assert "`acme/poems` is not routed: 2 pods" in told.message
    (plain,) = plan_model(world(model()), KEY).status.regions
    assert all(each.type != ConditionType.ADAPTERS_READY for each in plain.conditions)


def test_routes_are_programmed_only_with_those_of_the_adapters() -> None:
    found = world(with_adapters())
    spec_of_table = planned_table(world(model()), "eu-west")
    table = RoutingTable.model_validate(spec_of_table)
    (row,) = plan_model(replace(found, facts=Facts(tables={"eu-west": table})), KEY).status.regions
    (told,) = (each for each in row.conditions if each.type == ConditionType.ROUTES_PROGRAMMED)
    assert told.reason == Reason.WAITING_FOR_TABLE


def test_another_deployments_id_or_adapter_is_refused_by_its_name() -> None:
    other = Key("models", "other")
    cases = {
        # what `other`, the younger one, names: field and whose it is
        "acme/poems": ("spec.adapters[0].id", "an adapter of ModelDeployment `models/chat`, which is older", {
            "model": {"id": "acme/other"}, "adapters": [POEMS],
        }),
        "acme/chat": ("spec.adapters[0].id", "the id of ModelDeployment `models/chat`", {
            "model": {"id": "acme/other"}, "adapters": [LEGAL | {"id": "acme/chat"}],
        }),
    }  # fmt: skip
    first = with_adapters(created="2026-01-01T00:00:00Z")
    for name, (field, whose, fields) in cases.items():
        found = world(first, model(key=other, created="2026-02-01T00:00:00Z", **fields))
        refusal = refusals(found, other, claims(found.models))["eu-west"]
        assert refusal is not None
        assert (refusal.reason, refusal.field) == (Reason.MODEL_ID_CONFLICT, field)
        assert f"`{name}` is, in region `eu-west`, {whose};" in refusal.message
        assert refusals(found, KEY, claims(found.models))["eu-west"] is None


def test_no_adapter_takes_the_id_of_a_model_even_of_a_younger_one() -> None:
    other = Key("models", "other")
    first = with_adapters(created="2026-01-01T00:00:00Z")
    found = world(first, model(key=other, created="2026-02-01T00:00:00Z", model={"id": "acme/legal"}))
    refusal = refusals(found, KEY, claims(found.models))["eu-west"]
    assert refusal is not None
    assert refusal.field == "spec.adapters[0].id"
    assert "the id of ModelDeployment `models/other`" in refusal.message
    assert model_route(found, "acme/legal", "eu-west", claims(found.models)).adapter_of is None  # type: ignore[union-attr]


def test_no_alias_means_what_is_an_adapter_elsewhere() -> None:
    other = Key("models", "other")
    aliased = model(key=other, created="2025-01-01T00:00:00Z", model={"id": "acme/other", "aliases": ["acme/legal"]})
    routes = served(world(with_adapters(created="2026-01-01T00:00:00Z"), aliased))
    assert routes["acme/legal"].adapter_of == "acme/chat"
    assert routes["acme/other"].aliases == ()


def test_adapters_of_a_model_that_cannot_be_read_go_on_as_they_were() -> None:
    table = RoutingTable.model_validate(planned_table(world(with_adapters()), "eu-west"))
    found = replace(world(facts=Facts(tables={"eu-west": table})), unreadable_models={KEY: "acme/chat"})
    assert set(served(found)) == {"acme/chat", "acme/legal", "acme/poems"}


def test_llama_cpp_runs_without_a_cache_where_it_has_adapters_and_says_why() -> None:
    shared = with_adapters(engine="LlamaCpp", cache={"mode": "Shared"})
    run = isolated(shared, Settings(gateway_auth=GatewayAuth.NONE))
    assert run.spec.cache.mode is CacheMode.DISABLED
    assert isolated(with_adapters(cache={"mode": "Shared"}), Settings()).spec.cache.mode is CacheMode.SHARED
    (row,) = plan_model(world(run), KEY).status.regions
    (told,) = (each for each in row.conditions if each.type == ConditionType.CACHE_POLICY_ENFORCED)
    assert "LlamaCpp would answer one adapter's calls from another's cache" in told.message


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"engine": {"type": "SGLang", "version": "0.5.10"}}, "spec.adapters", "since 0.5.11, and this is"),
        ({"engine": {"type": "SGLang", "image": "a/b:latest"}}, "spec.adapters", "names no version"),
        (
            {"engine": {"type": "LlamaCpp"}, "adapters": [ODD]},
            "spec.adapters[0].source",
            "`,`",
        ),
        ({"engine": {"type": "Custom", "image": "a/b:1"}}, "spec.adapters", "does not know how"),
        ({"engine": {"type": "VLLM", "args": ["--lora-modules=a=b"]}}, "spec.engine.args[0]", "spec.adapters"),
    ],
)
def test_an_engine_that_cannot_refuses_with_the_reason(fields: dict[str, Any], field: str, words: str) -> None:
    base = spec().model_dump(by_alias=True) | {"adapters": [LEGAL]} | fields
    found = ModelDeploymentSpec.model_validate(base)
    refusal = engine_of(found).refusal(found)
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.UNSUPPORTED_BY_ENGINE, field)
    assert words in refusal.message


def test_adapters_weights_must_not_leave_their_jurisdiction_either() -> None:
    kept = LEGAL | {"source": {"file": {"path": "/models/legal"}, "jurisdiction": "EU"}}
    found = world(with_adapters(kept), regions=(region(jurisdiction="US"),))
    refusal = refusals(found, KEY, claims(found.models))["eu-west"]
    assert refusal is not None
    assert refusal.field == "spec.adapters[0].source.jurisdiction"
