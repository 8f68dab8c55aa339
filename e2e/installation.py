"""The chart on the cluster, with the examples applied."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from e2e.cluster import Cluster
from e2e.command import ROOT
from e2e.gateway import SYSTEM, Gateway, gateway_of
from e2e.images import build_images, load_images
from e2e.progress import Progress
from e2e.waiting import eventually

REGIONS = ("eu-west", "us-east")
MODELS = "models"


@dataclass(frozen=True)
class Platform:
    """The installed chart with the examples applied."""

    cluster: Cluster
    gateways: Mapping[str, Gateway]


def install(cluster: Cluster, progress: Progress) -> Platform:
    """The chart installed with its own ServiceAccounts, under the strictest Pod Security, and examples/ applied."""
    tags = build_images(progress)
    new_engine = load_images(cluster, tags, progress)
    for namespace in (SYSTEM, MODELS):
        _namespace(cluster, namespace)
    # What an interrupted run left half installed would refuse every later one.
    pending = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)"
    cluster.kubectl("delete", "secrets", "-n", SYSTEM, "-l", pending)
    repository, tag = tags["operator"].split(":")
    with progress.step("installing the chart"):
        cluster.helm(
            "upgrade", "--install", "tomoul", str(ROOT / "charts" / "tomoul"), "--namespace", SYSTEM,
            "--values", str(ROOT / "e2e" / "values.yaml"), "--set", f"image.repository={repository},image.tag={tag}",
            "--set", f"envoy.image={tags['envoy']}", "--wait", "--timeout", "3m",
        )  # fmt: skip
    if new_engine:
        cluster.kubectl("delete", "pods", "-n", MODELS, "--all", "--wait=false")
    with progress.step("applying examples/ until every model is ready"):
        cluster.kubectl("apply", "-f", str(ROOT / "examples"))
        # In a cluster that is used again, what is ready may still be what an earlier run left: first of all the new
        # operator has to replace the gateways.
        eventually(lambda: _agent_images(cluster), lambda images: images == [tags["operator"]] * len(REGIONS))
        for namespace in (SYSTEM, MODELS):
            cluster.kubectl("rollout", "status", "deployments", "-n", namespace, "--timeout=240s", timeout=260)
        ready = ("--for=condition=Ready", "--timeout=240s")
        cluster.kubectl("wait", "regions", "--all", *ready, timeout=260)
        cluster.kubectl("wait", "modeldeployments.tomoul.ai", "-n", MODELS, "--all", *ready, timeout=260)
    return Platform(cluster, {region: gateway_of(cluster, region) for region in REGIONS})


def _agent_images(cluster: Cluster) -> list[str]:
    gateways = cluster.list("deployments", "-n", SYSTEM, "-l", "app.kubernetes.io/component=gateway")
    return [gateway["spec"]["template"]["spec"]["initContainers"][0]["image"] for gateway in gateways]


def _namespace(cluster: Cluster, name: str) -> None:
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    cluster.kubectl("apply", "--server-side", "--field-manager=e2e", "-f", "-", input=manifest)
