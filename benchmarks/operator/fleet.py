"""The fleet: what people write (regions and ModelDeployments), and what a bare client would apply in its place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.harness import REPOSITORY
from tomoul.api.manifest import parse_resource
from tomoul.api.meta import ObjectMeta
from tomoul.controller.children import HASH_ANNOTATION
from tomoul.controller.fields import rendered_hash
from tomoul.plan.gather import gather
from tomoul.plan.labels import owner_reference
from tomoul.plan.model import plan_model
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

REGIONS = ("ap-south", "eu-west", "us-east")
NAMESPACE, BARE_NAMESPACE = "fleet", "bare"
CHILDREN = 5 * len(REGIONS)
"""ServiceAccount, NetworkPolicy, Deployment, Service and PodDisruptionBudget in each region."""

Object = dict[str, Any]


def regions() -> list[Object]:
    """Three regions after the example."""
    example = next(yaml.safe_load_all((REPOSITORY / "examples" / "regions.yaml").read_text()))
    made = []
    for name in REGIONS:
        placement = {**example["spec"]["placement"], "nodeSelector": {"topology.kubernetes.io/region": name}}
        spec = {**example["spec"], "displayName": name, "placement": placement}
        made.append({**example, "metadata": {"name": name}, "spec": spec})
    return made


def model(number: int) -> Object:
    """A ModelDeployment for vLLM in all regions."""
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": f"model-{number:04}", "namespace": NAMESPACE, "labels": {"team": f"team-{number % 40}"}},
        "spec": {
            "model": {"id": f"bench/model-{number:04}"},
            "source": {"hf": {"repo": f"bench/model-{number:04}", "revision": f"{number:040x}"}},
            "engine": {"type": "VLLM"},
            "capabilities": {"tools": {"parser": "hermes"}, "structuredOutput": True},
            "resources": {"accelerator": "nvidia-l4", "count": 1, "cpu": "1", "memory": "8Gi"},
            "regions": [{"name": name, "replicas": 1} for name in REGIONS],
            "routing": {"fallback": list(REGIONS)},
            "cache": {"mode": "Tenant", "noStore": "Isolated"},
        },
    }


def write_bare(file: Path, numbers: range) -> int:
    """Write what the operator would apply for these models, in the bare client's namespace; how many objects."""
    count = 0
    with file.open("w") as lines:
        for manifest in _children(numbers):
            lines.write(json.dumps(manifest) + "\n")
            count += 1
    return count


def _children(numbers: range) -> Iterator[Object]:
    for number in numbers:
        made = model(number)
        name = made["metadata"]["name"]
        written = {**made, "metadata": {**made["metadata"], "namespace": BARE_NAMESPACE}}
        resources = [parse_resource(item, ignore_unknown=True) for item in (*regions(), written)]
        world = gather(resources, Settings())
        for manifest in plan_model(world, Key(BARE_NAMESPACE, name)).objects:
            metadata = manifest["metadata"]
            owner = owner_reference("tomoul.ai/v1alpha1", "ModelDeployment", ObjectMeta(name=name, uid=_uid(number)))
            annotations = {**metadata.get("annotations", {}), HASH_ANNOTATION: rendered_hash(manifest)}
            yield {**manifest, "metadata": {**metadata, "annotations": annotations, "ownerReferences": [owner]}}


def _uid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"
