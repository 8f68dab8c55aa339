"""What the plan renders for vLLM, before its own parser."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.plan.groups import group_lines
from tests.plan.specs import spec
from tomoul.api.cache import Offload
from tomoul.plan.engines import vllm, vllm_reserved
from tomoul.plan.engines.base import model_path

NOT_STORED = {"mode": "Tenant", "noStore": "NotStored"}
HF = {"hf": {"repo": "microsoft/phi-4", "revision": "187ef0342fff0eb3333be9f00389385e95ef0b61"}}
FULL = spec(
    source=HF,
    capabilities={"tools": {"parser": "hermes"}, "contextWindow": 4096},
    resources={"accelerator": "nvidia-h100", "count": 4, "pipeline": 2},
    cache=NOT_STORED,
    args=["--max-num-seqs=8", "--enforce-eager"],
)
OFFLOADING = FULL.model_copy(update={"cache": FULL.cache.model_copy(update={"offload": Offload(memory="48Gi")})})
ADAPTERS = [{"id": f"acme/{name}", "source": {"file": {"path": f"/a,b/{name}"}}, "rank": 24} for name in "ab"]
LINES = [
    list(vllm.container(FULL, "default").args),
    list(vllm.container(FULL, "no-store").args),
    list(vllm.container(spec(), "default").args),
    list(vllm.container(spec(cache={"mode": "Disabled"}), "default").args),
    list(vllm.container(spec(adapters=ADAPTERS), "default").args),
    ["model", "--no-such-flag"],
    list(vllm.container(OFFLOADING, "default").args),
    list(vllm.container(OFFLOADING, "no-store").args),
    *group_lines(resources={"accelerator": "nvidia-h100", "count": 8, "nodes": 2, "pipeline": 2}),
]
GONE = {"VLLM_USE_V1"}
"""Variables that only older versions know."""
OFF_ANYWAY = {"--no-enable-log-requests"}
"""Other names of flags that are refused, by which they are turned off."""


@pytest.fixture(scope="module")
def told(vllm_home: Path) -> dict[str, Any]:
    program = Path(__file__).with_name("parse.py")
    done = subprocess.run(
        [vllm_home / "bin" / "python", program], input=json.dumps(LINES), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"version"') :])
    return found


def test_the_version_is_the_one_that_runs_if_none_is_named(told: dict[str, Any]) -> None:
    assert told["version"].startswith(vllm.DEFAULT_VERSION)


def test_vllm_takes_what_is_rendered_and_understands_it_as_meant(told: dict[str, Any]) -> None:
    full, no_store, plain, disabled, adapted, wrong, *_ = told["parsed"]
    assert "error" in wrong, "a flag that there is not must fail, or this proves nothing"
    for found in (full, no_store, plain, disabled, adapted):
        assert "error" not in found
        assert found["served_model_name"] == ["acme/chat"]
        assert (found["host"], found["port"]) == ("0.0.0.0", 8000)
        assert found["enable_prompt_tokens_details"]
    assert full["model_tag"] == model_path(FULL.source)
    assert (full["tensor_parallel_size"], full["max_model_len"], full["max_num_seqs"]) == (2, 4096, 8)
    assert (full["pipeline_parallel_size"], plain["pipeline_parallel_size"]) == (2, 1)
    assert (full["enable_auto_tool_choice"], full["tool_call_parser"]) == (True, "hermes")
    assert (plain["model_tag"], plain["tensor_parallel_size"]) == ("/models/a.gguf", 1)
    caches = [found["enable_prefix_caching"] for found in (full, no_store, plain, disabled)]
    assert caches == [True, False, True, False]
    assert (adapted["enable_lora"], adapted["max_loras"], adapted["max_lora_rank"]) == (True, 2, 32)
    for index, name in enumerate("ab"):
        assert f"name='acme/{name}', path='/a,b/{name}'" in adapted["lora_modules"][index]
    assert [found["kv_offloading_size"] for found in (full, no_store)] == [None, None]


def test_what_is_offloaded_is_so_many_gib_in_the_pool_with_a_cache_and_nothing_in_the_other(
    told: dict[str, Any],
) -> None:
    cached, no_store = told["parsed"][6:8]
    assert "error" not in cached
    assert (cached["kv_offloading_size"], cached["kv_offloading_backend"]) == (48, "native")
    assert (no_store["kv_offloading_size"], no_store["enable_prefix_caching"]) == (None, False)


def test_the_pods_of_a_group_find_each_other_and_only_the_first_has_a_server(told: dict[str, Any]) -> None:
    leader, worker = told["parsed"][8:]
    for rank, found in enumerate((leader, worker)):
        assert "error" not in found
        assert (found["nnodes"], found["node_rank"], found["headless"]) == (2, rank, rank > 0)
        assert (found["master_addr"], found["master_port"]) == ("chat-0.chat.models", 29501)
        assert (found["tensor_parallel_size"], found["pipeline_parallel_size"]) == (8, 2)
    assert leader["model_tag"] == worker["model_tag"]


def test_vllm_knows_each_flag_and_variable_that_is_refused(told: dict[str, Any]) -> None:
    assert set(vllm_reserved.ARGUMENTS) - {flag for action in told["flags"] for flag in action} == set()
    assert set(vllm_reserved.VARIABLES) - set(told["variables"]) == GONE


def test_vllm_has_the_gauges_that_are_documented(vllm_home: Path) -> None:
    (folder,) = vllm_home.glob("lib/python*/site-packages/vllm/v1/metrics")
    told = (folder / "loggers.py").read_text()
    assert [name for name in vllm.METRICS if f'name="{name}"' not in told] == []


def test_a_flag_of_vllms_that_is_refused_is_refused_by_each_of_its_names(told: dict[str, Any]) -> None:
    refused = [action for action in told["flags"] if vllm_reserved.ARGUMENTS.keys() & set(action)]
    passed = {flag for action in refused for flag in action if vllm.refusal(spec(args=[flag])) is None}
    assert passed == OFF_ANYWAY
