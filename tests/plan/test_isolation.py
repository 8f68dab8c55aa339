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


def test_a_model_is_told_why_it_runs_without_a_cache_and_a_pool_beside_it_is_not_run() -> None:
    planned = plan(world("Required", LLAMA, "Tenant", "NotStored")).models[KEY]
    (found,) = [each for each in planned.status.regions[0].conditions if each.type == "CachePolicyEnforced"]
    assert found.status == "True"
    assert found.message.endswith("No call's prompt is cached: LlamaCpp cannot keep tenants apart in a cache")
    assert len([obj for obj in planned.objects if obj["kind"] == "Deployment"]) == 1
