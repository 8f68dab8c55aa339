"""What the plan renders for SGLang, before its own parser, and what of its flags and variables is refused."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.plan.groups import group_lines
from tests.plan.specs import spec
from tomoul.api.cache import Offload
from tomoul.plan.engines import sglang, sglang_reserved

HF = {"hf": {"repo": "microsoft/phi-4", "revision": "187ef0342fff0eb3333be9f00389385e95ef0b61"}}
FULL = spec(
    "SGLang",
    source=HF,
    capabilities={"tools": {"parser": "qwen25"}, "contextWindow": 4096},
    resources={"accelerator": "nvidia-h100", "count": 2},
    cache={"mode": "Tenant", "noStore": "NotStored"},
    args=["--mem-fraction-static", "0.85"],
)
OFFLOADING = FULL.model_copy(update={"cache": FULL.cache.model_copy(update={"offload": Offload(memory="48Gi")})})
LINES = [
    list(sglang.container(FULL, "default").args),
    list(sglang.container(FULL, "no-store").args),
    list(sglang.container(spec("SGLang"), "default").args),
    list(sglang.container(spec("SGLang", cache={"mode": "Disabled"}), "default").args),
    ["--model-path", "model", "--no-such-flag"],
    ["--model-path", "model", "--tool-call-parser", "no-such-parser"],
    list(sglang.container(OFFLOADING, "default", deterministic=True).args),
    list(sglang.container(OFFLOADING, "no-store", deterministic=True).args),
    *group_lines(engine="SGLang", resources={"accelerator": "nvidia-h100", "count": 8, "nodes": 2, "pipeline": 2}),
]


@pytest.fixture(scope="module")
def told(sglang_python: Path) -> dict[str, Any]:
    program = Path(__file__).parent / "programs" / "sglang_parse.py"
    done = subprocess.run(
        [sglang_python, program], input=json.dumps(LINES), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_sglangs_version_is_the_one_that_runs_if_none_is_named(told: dict[str, Any]) -> None:
    assert told["version"] == sglang.DEFAULT_VERSION


def test_sglang_takes_what_is_rendered_and_understands_it_as_meant(told: dict[str, Any]) -> None:
    full, no_store, plain, disabled, *wrong = told["parsed"][:6]
    assert wrong == [{"error": 2}, {"error": 2}], "what SGLang does not know must fail, or this proves nothing"
    for found in (full, no_store, plain, disabled):
        assert found["served_model_name"] == "acme/chat"
        assert (found["host"], found["port"]) == ("0.0.0.0", 8000)
        assert found["enable_cache_report"]
        assert found["enable_metrics"]
        assert not found["enable_hierarchical_cache"]
    assert full["model_path"] == sglang.container(FULL, "default").args[1]
    assert (full["tp_size"], full["context_length"], full["tool_call_parser"]) == (2, 4096, "qwen25")
    assert full["mem_fraction_static"] == 0.85
    assert (plain["model_path"], plain["tp_size"]) == ("/models/a.gguf", 1)
    caches = [not found["disable_radix_cache"] for found in (full, no_store, plain, disabled)]
    assert caches == [True, False, True, False]


def test_sglang_understands_its_deterministic_mode_and_offload_as_meant(told: dict[str, Any]) -> None:
    cached, no_store = told["parsed"][6:8]
    assert cached["enable_deterministic_inference"]
    assert no_store["enable_deterministic_inference"]
    assert (cached["enable_hierarchical_cache"], cached["hicache_size"]) == (True, 25)
    assert (no_store["enable_hierarchical_cache"], no_store["disable_radix_cache"]) == (False, True)
    assert cached["hicache_storage_backend"] is None


def test_the_pods_of_a_group_find_each_other_at_the_first_one(told: dict[str, Any]) -> None:
    for rank, found in enumerate(told["parsed"][8:]):
        assert (found["nnodes"], found["node_rank"]) == (2, rank)
        assert found["dist_init_addr"] == "chat-0.chat.models:29501"
        assert (found["tp_size"], found["pp_size"]) == (8, 2)


def test_sglang_knows_each_flag_and_variable_that_is_refused(told: dict[str, Any]) -> None:
    assert set(sglang_reserved.ARGUMENTS) - {flag for action in told["flags"] for flag in action} == set()
    for name in sglang_reserved.VARIABLES:
        assert [known for known in told["variables"] if known == name or known.startswith(name.rstrip("*"))], name


def test_a_flag_of_sglangs_that_is_refused_is_refused_by_each_of_its_names(told: dict[str, Any]) -> None:
    for action in told["flags"]:
        if not sglang_reserved.ARGUMENTS.keys() & set(action):
            continue
        for flag in action:
            found = sglang.refusal(spec("SGLang", args=[flag]))
            assert found is not None, f"{flag} is another name of what is refused: {action}"


def test_sglang_reads_the_salt_and_each_field_that_is_removed(told: dict[str, Any]) -> None:
    fields = sglang.body_fields(FULL)
    assert {fields.salt, *fields.remove} <= set(told["fields"])


def test_sglang_has_the_gauges_that_are_documented(sglang_python: Path) -> None:
    (folder,) = sglang_python.parents[1].glob("lib/python*/site-packages/sglang/srt/observability")
    told = (folder / "metrics_collector.py").read_text()
    assert [name for name in sglang.METRICS if f'name="{name}"' not in told] == []
