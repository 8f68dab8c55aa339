"""What a diff means to who calls and to who pays."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from tests.plan.specs import KEY, model, region, world
from tests.plan.strategies import worlds
from tomoul.api.tenant import Tenant
from tomoul.plan.consequences import consequences
from tomoul.plan.diff import diff_worlds, routes_of
from tomoul.plan.effect import Effect
from tomoul.plan.succession import in_succession
from tomoul.plan.world import Key, World

BOTH = [{"name": "eu-west", "replicas": 2}, {"name": "us-east", "replicas": 1}]
REFUSED = "503 `region_capacity_unavailable`"
BASE: Mapping[str, Any] = {"regions": BOTH, "routing": {"fallback": ["eu-west", "us-east"]}}


def noticed(before: World, after: World) -> list[tuple[Effect, str, tuple[str, ...], str]]:
    old, new = in_succession(before, after)
    return [tuple(each) for each in consequences(diff_worlds(old, new), old, new)]


def two(**fields: Any) -> World:
    return world(model(**{**BASE, **fields}), regions=(region("eu-west"), region("us-east")))


def changed(found: World, **fields: Any) -> World:
    return replace(found, models={KEY: model(**{**BASE, **fields})})


def test_a_model_that_goes_is_told_with_what_its_calls_get_and_its_pods() -> None:
    before = two()
    assert noticed(before, replace(before, models={})) == [
        (Effect.MODEL_GONE, "acme/chat", (), "no region serves it any more: calls get 404 `model_not_found`"),
        (Effect.PODS_END, "ModelDeployment models/chat", ("eu-west",), "2 pods end"),
        (Effect.PODS_END, "ModelDeployment models/chat", ("us-east",), "1 pod ends"),
    ]


def test_a_model_that_leaves_a_region_is_told_with_who_answers_instead() -> None:
    before = two()
    found = noticed(before, changed(before, regions=BOTH[:1], routing={"fallback": ["eu-west"]}))
    assert [(effect, regions) for effect, _, regions, _ in found] == [
        (Effect.REGION_LOST, ("us-east",)),
        (Effect.CALLS_MOVE, ("eu-west",)),
        (Effect.PODS_END, ("us-east",)),
    ]
    assert found[0][3].endswith("404 `model_not_available_in_region`, others are answered by eu-west")
    alone = noticed(before, changed(before, regions=BOTH[:1], routing={}))
    assert alone[0][3].endswith("so do others that arrive there: it has no fallback")


def test_calls_that_arrive_where_a_model_is_not_served_are_told_of_too() -> None:
    alone = {"regions": BOTH[1:], "model": {"id": "acme/chat", "aliases": ["chat"]}}
    before = two(**alone, routing={"fallback": ["us-east"]})
    words = "calls that name no region, and arrive there, where it is not served, go to no other region; "
    assert noticed(before, changed(before, **alone, routing={})) == [
        (Effect.CALLS_MOVE, "acme/chat", ("eu-west",), f"{words}they went to us-east")
    ]
    other = model(Key("models", "other"), model={"id": "chat"}, regions=BOTH[:1], created="2026-01-01T00:00:00Z")
    after = replace(before, models={**before.models, Key("models", "other"): other})
    lost = (Effect.CALLS_REFUSED, "acme/chat", ("eu-west",), "`chat` is no name of it any more")
    assert lost in noticed(before, after)


def test_an_id_that_becomes_an_alias_of_another_model_where_it_is_not_served_is_told() -> None:
    before = two(regions=BOTH[1:], routing={"fallback": ["us-east"]})
    aliased = {"id": "acme/other", "aliases": ["acme/chat"]}
    other = model(Key("models", "other"), model=aliased, regions=BOTH[:1], created="2026-01-01T00:00:00Z")
    after = replace(before, models={**before.models, Key("models", "other"): other})
    words = "is an alias of `acme/other` there: calls that arrive there are that model's"
    assert (Effect.CALLS_MOVE, "acme/chat", ("eu-west",), words) in noticed(before, after)


def test_a_model_that_is_new_and_one_that_gains_a_region_harm_nobody() -> None:
    before = two(regions=BOTH[:1], routing={})
    assert noticed(before, changed(before, routing={}))[-2:] == [
        (Effect.PODS_START, "ModelDeployment models/chat", ("us-east",), "1 pod starts"),
        (Effect.MODEL_SERVED, "acme/chat", ("us-east",), "is served there from now on"),
    ]
    assert {each[0] for each in noticed(replace(before, models={}), before)} == {Effect.PODS_START, Effect.MODEL_SERVED}


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        ({"strategy": "Replace"}, "(rollout Replace)"),
        (
            {"strategy": "Surge", "canary": {"weight": 10, "durationSeconds": 60}},
            "(rollout Surge, first a canary of 10 % of the calls)",
        ),
    ],
)
def test_pods_that_are_made_anew_lose_what_they_cached(rollout: Mapping[str, Any], words: str) -> None:
    before = two(rollout=rollout)
    assert noticed(
        before, changed(before, rollout=rollout, engine={"type": "VLLM", "args": ["--max-num-seqs", "8"]})
    ) == [
        (Effect.PODS_REPLACED, "ModelDeployment models/chat", (place,), f"{count} {words}: {lost}")
        for place, count in (("eu-west", "2 pods are replaced"), ("us-east", "1 pod is replaced"))
        for lost in ("what their prompt caches hold is lost",)
    ]


def test_pods_without_a_prompt_cache_have_none_to_lose() -> None:
    cache = {"cache": {"mode": "Disabled"}}
    before = two(**cache)
    found = noticed(before, changed(before, **cache, engine={"type": "VLLM", "args": ["--max-num-seqs", "8"]}))
    assert {each[3] for each in found} == {"2 pods are replaced (rollout Auto)", "1 pod is replaced (rollout Auto)"}


def test_a_region_that_is_disabled_is_told_once_and_not_again_of_each_model() -> None:
    before = two()
    after = replace(before, regions={**before.regions, "us-east": region("us-east", state="Disabled")})
    found = noticed(before, after)
    words = f"Active → Disabled: calls pinned to it get {REFUSED}"
    assert (Effect.REGION_STATE, "region us-east", (), words) in found
    assert Effect.REGION_LOST not in {each[0] for each in found}


def test_weights_of_another_revision_are_brought_anew() -> None:
    before = two(source={"hf": {"repo": "acme/chat", "revision": "v1"}})
    found = noticed(before, changed(before, source={"hf": {"repo": "acme/chat", "revision": "v2"}}))
    assert {each[0] for each in found} == {Effect.PODS_REPLACED}
    assert all(each[3].endswith("; weights are brought anew") for each in found)


def test_pods_of_a_model_that_an_autoscaler_counts_are_its_pods() -> None:
    scaled = {"name": "eu-west", "scaling": {"minReplicas": 1, "maxReplicas": 4, "targetInFlight": 8}}
    before = two(regions=[scaled], routing={})
    [(_, _, _, message)] = noticed(before, changed(before, regions=[scaled], routing={}, resources={"cpu": "2"}))
    assert message.startswith("its pods are replaced")


def scaled(least: int, most: int) -> dict[str, Any]:
    scaling = {"minReplicas": least, "maxReplicas": most, "targetInFlight": 8}
    return {"regions": [{"name": "eu-west", "scaling": scaling}], "routing": {}}


def fixed(replicas: int) -> dict[str, Any]:
    return {"regions": [{"name": "eu-west", "replicas": replicas}], "routing": {}}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (scaled(1, 5), fixed(1), [(Effect.PODS_END, "its pods: 1..5 → 1")]),
        (fixed(2), scaled(3, 5), [(Effect.PODS_START, "its pods: 2 → 3..5")]),
        (scaled(4, 5), scaled(1, 2), [(Effect.PODS_END, "its pods: 4..5 → 1..2")]),
        (fixed(2), fixed(3), [(Effect.PODS_START, "1 pod starts")]),
        (
            fixed(2),
            fixed(0),
            [
                (
                    Effect.CALLS_REFUSED,
                    f"has no pod any more: calls pinned there get {REFUSED}",
                ),
                (Effect.PODS_END, "2 pods end"),
            ],
        ),
        (
            scaled(1, 5),
            scaled(0, 5),
            [
                (
                    Effect.CALLS_REFUSED,
                    f"may have no pod while nobody calls: the next call pinned there gets {REFUSED}",
                ),
                (Effect.PODS_END, "its pods: 1..5 → 0..5"),
            ],
        ),
    ],
)
def test_another_number_of_pods_is_told_and_that_pins_are_refused_where_none_may_be_left(
    before: Mapping[str, Any], after: Mapping[str, Any], told: list[tuple[Effect, str]]
) -> None:
    found = noticed(two(**before), changed(two(**before), **after))
    assert [(effect, message) for effect, _, _, message in found] == told


def test_an_endpoint_that_goes_or_moves_is_told_where_calls_are_sent_on_to_it() -> None:
    def far(**fields: Any) -> World:
        found = two(routing={})
        regions = {**found.regions, "us-east": region("us-east", **fields)}
        return replace(found, regions=regions, settings=replace(found.settings, hosted_regions=frozenset({"eu-west"})))

    urls = "https://us-east.example.com", "https://other.example.com"
    here, there = (far(endpoint={"url": url}) for url in urls)
    words = f"has no `endpoint` any more: calls pinned to it that arrive there get {REFUSED}"
    assert noticed(here, far()) == [(Effect.CALLS_REFUSED, "region us-east", ("eu-west",), words)]
    words = f"calls that are sent on to it go to {urls[1]}; they went to {urls[0]}"
    assert noticed(here, there) == [(Effect.CALLS_MOVE, "region us-east", ("eu-west",), words)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"capabilities": {}}, {"refuses calls with `tools`", "refuses calls with JSON mode"}),
        ({"routing": {"requireRegion": True}}, {"refuses calls that name no region"}),
        (
            {"cache": {"mode": "Tenant", "noStore": "Refuse"}},
            {"refuses calls with `X-Tomoul-Cache: no-store`", "what no-store gets: Isolated → Refuse"},
        ),
        ({"cache": {"mode": "Shared", "noStore": "Isolated"}}, {"who shares the prompt cache: Tenant → Shared"}),
        ({"model": {"id": "acme/chat"}}, {"`chat` is no name of it any more"}),
        (
            {"routing": {"fallback": ["eu-west", "us-east"], "timeouts": {"requestSeconds": 5}}},
            {"ends calls by `timeouts.requestSeconds` after 5 s: it was 600 s"},
        ),
    ],
)
def test_what_calls_are_refused_or_get_from_now_on_is_told_once_for_all_regions(
    fields: Mapping[str, Any], told: set[str]
) -> None:
    full = {
        "model": {"id": "acme/chat", "aliases": ["chat"]},
        "capabilities": {"tools": {"parser": "hermes"}, "jsonMode": True},
        "cache": {"mode": "Tenant", "noStore": "Isolated"},
    }
    before = two(**full)
    found = noticed(before, changed(before, **{**full, **fields}))
    calls = [each for each in found if each[0] in (Effect.CALLS_REFUSED, Effect.CACHE_CHANGED)]
    assert {each[3] for each in calls} == told
    assert {each[2] for each in calls} == {("eu-west", "us-east")}


def test_regions_that_drain_and_go_are_told_with_what_pins_get() -> None:
    before = two()
    draining = replace(before, regions={**before.regions, "us-east": region("us-east", state="Draining")})
    assert (Effect.REGION_STATE, "region us-east", (), "Active → Draining") in noticed(before, draining)
    gone = replace(before, regions={"eu-west": before.regions["eu-west"]})
    words = "is no region any more: calls pinned to it get 400 `unknown_region`"
    assert (Effect.REGION_STATE, "region us-east", (), words) in noticed(before, gone)


def test_gateways_whose_pods_change_are_replaced() -> None:
    before = two()
    moved = replace(
        before, regions={**before.regions, "us-east": region("us-east", placement={"nodeSelector": {"a": "b"}})}
    )
    assert Effect.GATEWAYS_REPLACED in {each[0] for each in noticed(before, moved)}


def tenant(**spec: Any) -> Tenant:
    metadata = {"name": "team", "namespace": "models"}
    return Tenant.model_validate({"metadata": metadata, "spec": {"apiKeys": {"secretName": "keys"}, **spec}})


def test_what_a_tenant_loses_is_told_and_what_it_gains_is_not_refused() -> None:
    key = Key("models", "team")
    before = replace(two(), tenants={key: tenant(limits={"requestsPerMinute": 100})})

    def told(after: Mapping[Key, Tenant]) -> list[str]:
        return [each[3] for each in noticed(before, replace(before, tenants=after)) if each[0] is Effect.TENANT_CHANGED]

    assert told({}) == ["is gone: its keys get 401"]
    assert told({key: tenant(regions=["eu-west"])}) == [
        "may use these regions alone: eu-west",
        "requestsPerMinute: 100 → no limit",
    ]
    before = replace(before, tenants={key: tenant(regions=["eu-west", "us-east"])})
    assert told({key: tenant(regions=["us-east"])}) == ["may not use regions eu-west"]
    assert told({key: tenant()}) == []
    refused = "must name a region: its calls that name none get 400 `region_required`"
    assert told({key: tenant(requireRegion=True)}) == [refused]


@settings(max_examples=40, deadline=None)
@given(before=worlds(), after=worlds())
def test_of_any_two_worlds_each_model_that_no_table_has_any_more_is_gone_and_of_one_and_itself_nothing(
    before: World, after: World
) -> None:
    assert noticed(before, before) == []
    old, new = in_succession(before, after)
    diff = diff_worlds(old, new)
    names = [each.region for each in diff.regions]
    lost = {route for name in names for route in routes_of(diff.old, name)} - {
        route for name in names for route in routes_of(diff.new, name)
    }
    assert {each.subject for each in consequences(diff, old, new) if each.effect is Effect.MODEL_GONE} == lost
