"""docs/engines/adding.md, tried: an engine that is one file, one name and one line is planned, routed and told of."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import tomoul
from tomoul.plan.engines.base import EngineModule

PAGE = Path(__file__).parents[2] / "docs" / "engines" / "adding.md"
MODULE = """
from tomoul.api.conditions import Reason
from tomoul.plan.engines.base import BodyFields, CachePromise, EngineContainer, SeedHandling

DEFAULT_VERSION = "1.2.3"
KEEPS_CONNECTIONS = True
METRICS = None


def default_image(version):
    return f"example.com/toy:{version}"


def container(spec, pool, *, deterministic=False):
    return EngineContainer(args=("--port", "8000", "--pool", pool), command=("toy",))


def refusal(spec):
    return None


def cache_promise(spec):
    return CachePromise(True, Reason.ENFORCED, "A toy remembers nothing")


def prompt_cache(spec, pool):
    return "none"


def seeds(spec):
    return SeedHandling("ignored", None, known=6)


def body_fields(spec):
    return BodyFields(remove=("toy_field",))
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
PLAN = """
import json, sys
from pathlib import Path
from tomoul.kube.manifests import read_manifests
from tomoul.plan.gather import gather
from tomoul.plan.planner import plan
from tomoul.plan.world import Settings
parsed = read_manifests([Path(sys.argv[1])])
assert not parsed.errors, parsed.errors
state = plan(gather(parsed.resources, Settings()))
print(json.dumps([dict(each) for each in state.objects], default=str))
"""


def insert(file: Path, before: str, line: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} has changed: look at adding.md too"
    file.write_text(text.replace(before, line + before))


def test_an_engine_is_one_file_one_name_and_one_line_as_the_page_says(tmp_path: Path) -> None:
    package = tmp_path / "tomoul"
    shutil.copytree(Path(tomoul.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "plan" / "engines" / "toy.py").write_text(MODULE)
    insert(package / "api" / "engine.py", '    CUSTOM = "Custom"\n', '    TOY = "Toy"\n')
    registry = package / "plan" / "engines" / "registry.py"
    insert(registry, "from tomoul.plan.engines.base import EngineModule\n", "from tomoul.plan.engines import toy\n")
    insert(registry, "    EngineType.CUSTOM: custom,\n", "    EngineType.TOY: toy,\n")
    world = tmp_path / "world.yaml"
    world.write_text(yaml.safe_dump_all(WORLD))
    done = subprocess.run(
        [sys.executable, "-P", "-c", PLAN, str(world)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    objects = json.loads(done.stdout)
    pods = {
        each["metadata"]["labels"]["tomoul.ai/pool"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] == "Deployment" and each["metadata"]["namespace"] == "models"
    }
    (engine,) = pods["default"]["containers"]
    assert (engine["image"], engine["command"], engine["args"]) == (
        "example.com/toy:1.2.3", ["toy"], ["--port", "8000", "--pool", "default"]
    )  # fmt: skip
    (table,) = [each for each in objects if each["kind"] == "RoutingTable"]
    (route,) = table["spec"]["models"]
    assert (route["capabilities"]["seed"], route["seeds"], route["removeFields"]) == ("ignored", 6, ["toy_field"])


def test_the_page_names_every_part_of_an_engine_module() -> None:
    page = PAGE.read_text()
    parts = [name for name in vars(EngineModule) if not name.startswith("_")]
    assert len(parts) > 8
    assert [part for part in parts if f"`{part}" not in page] == []
