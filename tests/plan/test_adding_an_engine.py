"""docs/engines/adding.md, tried: an engine that is one file is generated, planned, routed and told of."""

import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tomoul.api.enginetype import EngineType
from tomoul.plan.engines.base import EngineDefinition
from tomoul.plan.engines.enginetype import engine_type_module
from tomoul.plan.engines.registry import ENGINES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "engines" / "adding.md"
COPIED = (
    "operator/tomoul", "pyproject.toml", "tests/conftest.py",
    "tests/controlplane", "tests/golden.py", "tests/plan",
)  # fmt: skip
SCENARIO = "tests/golden/plan/a toy that remembers nothing"
MODULE = """
from tomoul.api.conditions import Reason
from tomoul.plan.engines.base import (
    BodyFields,
    CachePromise,
    EngineContainer,
    EngineDefinition,
    SeedHandling,
)

ENGINE = EngineDefinition(
    type="Toy",
    about="an engine that children build",
    default_version="1.2.3",
    default_image=lambda version: f"example.com/toy:{version}",
    container=lambda spec, pool, deterministic=False: EngineContainer(
        args=("--port", "8000", "--pool", pool), command=("toy",)
    ),
    refusal=lambda spec: None,
    cache_promise=lambda spec: CachePromise(True, Reason.ENFORCED, "A toy remembers nothing"),
    prompt_cache=lambda spec, pool: "none",
    seeds=lambda spec: SeedHandling("ignored", None, known=6),
    adapter_fields=lambda spec, index: {},
    mixes_adapters=False,
    body_fields=lambda spec: BodyFields(remove=("toy_field",)),
    metrics=None,
    keeps_connections=True,
    parses_tools=True,
)
"""
WORLD = [
    {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": "eu-west"}, "spec": {}},
    {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "toy", "namespace": "models"},
        "spec": {
            "model": {"id": "acme/toy"},
            "source": {"file": {"path": "/models/toy"}},
            "engine": {"type": "Toy"},
            "cache": {"noStore": "NotStored"},
            "regions": [{"name": "eu-west", "replicas": 1}],
        },
    },
]


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, after what the page says: one file, a scenario, `make generate` and `make golden`."""
    copy = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, copy / name)
    (copy / "operator" / "tomoul" / "plan" / "engines" / "toy.py").write_text(MODULE)
    (copy / SCENARIO).mkdir(parents=True)
    (copy / SCENARIO / "in.yaml").write_text(yaml.safe_dump_all(WORLD))
    for command in (
        "tomoul.cli.enginetype operator/tomoul/api/enginetype.py",
        "ruff format --check operator/tomoul/api/enginetype.py",
        "tomoul crds --output crds",
        "pytest -q -p no:xdist -p no:cacheprovider tests/plan/test_golden.py --update-golden",
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", *command.split()],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(copy / "operator"), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return copy


def test_an_engine_is_one_file_of_which_the_api_learns_what_it_must(added: Path) -> None:
    crd = yaml.safe_load((added / "crds" / "tomoul.ai_modeldeployments.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    kind = spec["properties"]["engine"]["properties"]["type"]
    assert kind["enum"] == sorted([*ENGINES, "Toy"])
    assert "Toy: an engine that children build; VLLM." in kind["description"]
    (rule,) = [each for each in spec["x-kubernetes-validations"] if each.get("fieldPath") == ".capabilities.tools"]
    assert "'Toy'" in rule["rule"]
    assert "SGLang, Toy and VLLM" in rule["message"]


def test_an_engine_that_is_one_file_is_planned_and_routed(added: Path) -> None:
    out = added / SCENARIO / "out"
    workloads = yaml.safe_load((out / "eu-west.workloads.yaml").read_text())
    pods = {
        each["metadata"]["labels"]["tomoul.ai/pool"]: each["spec"]["template"]["spec"]
        for each in workloads
        if each["kind"] == "Deployment"
    }
    (engine,) = pods["default"]["containers"]
    assert (engine["image"], engine["command"], engine["args"]) == (
        "example.com/toy:1.2.3", ["toy"], ["--port", "8000", "--pool", "default"]
    )  # fmt: skip
    (route,) = yaml.safe_load((out / "eu-west.routing-table.yaml").read_text())["spec"]["models"]
    assert (route["capabilities"]["seed"], route["seeds"], route["removeFields"]) == ("ignored", 6, ["toy_field"])


def test_the_api_knows_the_engines_that_there_are() -> None:
    file = ROOT / "operator" / "tomoul" / "api" / "enginetype.py"
    assert file.read_text() == engine_type_module(ENGINES.values()), "run `make generate`"
    assert sorted(EngineType) == sorted(ENGINES)


def test_the_page_names_every_part_of_an_engine() -> None:
    page = PAGE.read_text()
    assert [each.name for each in fields(EngineDefinition) if f"`{each.name}" not in page] == []
