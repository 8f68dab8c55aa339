"""Small resources for tests: only what a test speaks of is written out."""

from collections.abc import Mapping, Sequence
from typing import Any

from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.region import Region
from tomoul.plan.settings import Settings
from tomoul.plan.tables import plan_tables
from tomoul.plan.world import Facts, Key, Manifest, World

KEY = Key("models", "chat")


def spec(
    engine: str | Mapping[str, Any] = "VLLM", args: Sequence[str] = (), image: str | None = None, **fields: Any
) -> ModelDeploymentSpec:
    """A ModelDeploymentSpec; `fields` replace its top-level ones, as in YAML. `engine` is its type, or all of it."""
    base: dict[str, Any] = {
        "model": {"id": "acme/chat"},
        "source": {"file": {"path": "/models/a.gguf"}},
        "engine": {"type": engine, "args": args, "image": image} if isinstance(engine, str) else engine,
        "regions": [{"name": "eu-west", "replicas": 1}],
    }
    if "adapters" in fields and base["engine"]["type"] == "VLLM":
        # Without a GPU it is refused them.
        base["resources"] = {"accelerator": "nvidia-l4"}
    return ModelDeploymentSpec.model_validate(base | fields)


def model(
    key: Key = KEY, engine: str | Mapping[str, Any] = "VLLM", created: str | None = None, **fields: Any
) -> ModelDeployment:
    """A ModelDeployment with that spec."""
    metadata = {"name": key.name, "namespace": key.namespace, "uid": f"uid-of-{key.name}", "generation": 3}
    if created is not None:
        metadata["creationTimestamp"] = created
    return ModelDeployment.model_validate({"metadata": metadata, "spec": spec(engine, **fields)})


def region(name: str = "eu-west", **fields: Any) -> Region:
    """A Region with one kind of GPU."""
    base = {"placement": {"accelerators": [{"name": "nvidia-l4"}]}}
    metadata = {"name": name, "uid": f"uid-of-{name}", "generation": 2}
    return Region.model_validate({"metadata": metadata, "spec": base | fields})


def world(
    *models: ModelDeployment,
    regions: tuple[Region, ...] | None = None,
    facts: Facts | None = None,
    hosted: frozenset[str] | None = None,
) -> World:
    """A world of those models, with the region `eu-west` unless others are given."""
    found: Mapping[str, Region] = {each.metadata.name: each for each in (regions or (region(),))}
    return World(
        settings=Settings(hosted_regions=hosted),
        regions=found,
        models={Key(each.metadata.namespace, each.metadata.name): each for each in models},
        facts=facts or Facts(),
    )


def planned_table(found: World, region: str) -> Manifest | None:
    """The only table of a region with few models, or None where it has none."""
    plan = plan_tables(found, region)
    if plan is None:
        return None
    (table,) = plan.tables.values()
    return table
