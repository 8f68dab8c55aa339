"""A cache that an engine cannot keep apart by tenant is off where there are several tenants."""

from typing import Any

import pytest

from tests.plan.worlds import world_of
from tomoul.plan.planner import plan
from tomoul.plan.world import Key, World

KEY = Key("models", "chat")


def world(auth: str, engine: dict[str, Any], mode: str, no_store: str = "Refuse") -> World:
    model = {
        "kind": "ModelDeployment",
        "metadata": {"name": "chat", "namespace": "models", "generation": 1},
        "spec": {
            "model": {"id": "acme/chat"},
            "source": {"pvc": {"claimName": "weights", "path": "a.gguf"}},
            "engine": engine,
            "regions": [{"name": "eu-west", "replicas": 1}],
            "cache": {"mode": mode, "noStore": no_store},
        },
    }
    region = {"kind": "Region", "metadata": {"name": "eu-west"}, "spec": {"jurisdiction": "EU"}}
    return world_of([{"settings": {"gateway_auth": auth}}, region, model])


LLAMA, VLLM = {"type": "LlamaCpp"}, {"type": "VLLM"}
OLD_SGLANG = {"type": "SGLang", "image": "lmsysorg/sglang:v0.5.10"}


@pytest.mark.parametrize(
    ("auth", "engine", "mode", "runs"),
    [
        ("Required", LLAMA, "Tenant", "Disabled"),
        ("Required", OLD_SGLANG, "Tenant", "Disabled"),
        ("Required", VLLM, "Tenant", "Tenant"),
        ("Required", LLAMA, "Shared", "Shared"),
        ("Required", LLAMA, "Disabled", "Disabled"),
        ("None", LLAMA, "Tenant", "Tenant"),
        ("None", OLD_SGLANG, "Tenant", "Tenant"),
    ],
)
def test_a_cache_runs_as_it_can_be_kept(auth: str, engine: dict[str, Any], mode: str, runs: str) -> None:
    desired = plan(world(auth, engine, mode))
    (route,) = desired.tables["eu-west"]["spec"]["models"]
    assert route["cache"]["mode"] == runs
    (deployment,) = [obj for obj in desired.models[KEY].objects if obj["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]
    assert (pod["metadata"]["labels"]["tomoul.ai/prompt-cache"] == "none") == (runs == "Disabled")


OWN = {"type": "Custom", "image": "a/b:1", "custom": {"promptCache": "Shared", "noCacheArgs": ["--no-cache"]}}


def test_a_custom_engine_whose_cache_all_share_runs_without_it_in_mode_tenant_and_is_told_both_ways_out() -> None:
    planned = plan(world("Required", OWN, "Tenant")).models[KEY]
    (deployment,) = [obj for obj in planned.objects if obj["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["--no-cache"]
    (found,) = [each for each in planned.status.regions[0].conditions if each.type == "CachePolicyEnforced"]
    assert found.status == "True"
    for words in ("No call's prompt is cached", "custom.promptCache", "say Salted", "`spec.cache.mode: Shared`"):
        assert words in found.message


def test_a_custom_engine_that_can_do_no_such_thing_is_refused_with_all_ways_out() -> None:
    planned = plan(world("Required", {**OWN, "custom": {"promptCache": "Shared"}}, "Tenant")).models[KEY]
    (found,) = [each for each in planned.status.regions[0].conditions if each.type == "Accepted"]
    assert (found.status, found.reason) == ("False", "UnsupportedByEngine")
    ways = ("spec.engine.custom.noCacheArgs", "unless it is Salted", "promptCache: None", "`spec.cache.mode: Shared`")
    assert [words for words in ways if words not in found.message] == []


def test_a_model_is_told_why_it_runs_without_a_cache_and_a_pool_beside_it_is_not_run() -> None:
    planned = plan(world("Required", LLAMA, "Tenant", "NotStored")).models[KEY]
    (found,) = [each for each in planned.status.regions[0].conditions if each.type == "CachePolicyEnforced"]
    assert found.status == "True"
    assert found.message.endswith("No call's prompt is cached: LlamaCpp cannot keep tenants apart in a cache")
    assert len([obj for obj in planned.objects if obj["kind"] == "Deployment"]) == 1


UNKNOWN = {"type": "VLLM", "image": "acme/vllm:latest"}
KNOWN = UNKNOWN | {"version": "0.32.0"}


@pytest.mark.parametrize(
    ("auth", "engine", "asked", "told"),
    [
        ("None", VLLM, ("Tenant", "Isolated"), ("Tenant", "Isolated", "0.32.0")),
        ("None", KNOWN, ("Tenant", "Isolated"), ("Tenant", "Isolated", "0.32.0")),
        ("None", UNKNOWN, ("Tenant", "Isolated"), ("Shared", "Refuse", "")),
        ("Required", UNKNOWN, ("Tenant", "Isolated"), ("Disabled", "NotStored", "")),
        ("None", OLD_SGLANG, ("Tenant", "Isolated"), ("Shared", "Refuse", "0.5.10")),
        ("None", LLAMA, ("Tenant", "NotStored"), ("Shared", "NotStored", "")),
        ("Required", LLAMA, ("Tenant", "NotStored"), ("Disabled", "NotStored", "")),
        ("Required", LLAMA, ("Disabled", "Refuse"), ("Disabled", "NotStored", "")),
    ],
)
def test_the_status_tells_the_policy_that_calls_get_and_not_the_one_that_was_asked_for(
    auth: str, engine: dict[str, Any], asked: tuple[str, str], told: tuple[str, str, str]
) -> None:
    (row,) = plan(world(auth, engine, *asked)).models[KEY].status.regions
    assert row.cache_policy is not None
    assert (row.cache_policy.mode, row.cache_policy.no_store, row.cache_policy.engine_version) == told


def test_a_model_that_runs_without_a_cache_for_its_unknown_version_is_told_what_to_change() -> None:
    (row,) = plan(world("Required", UNKNOWN, "Tenant")).models[KEY].status.regions
    (found,) = [each for each in row.conditions if each.type == "CachePolicyEnforced"]
    assert "no version; see `spec.engine.version`" in found.message
