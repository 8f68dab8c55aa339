"""The chart on the cluster, with the examples applied."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import Cluster
from e2e.command import ROOT
from e2e.gateway import SYSTEM, Gateway, gateway_of
from e2e.images import build_images, load_images
from e2e.progress import Progress
from e2e.waiting import eventually

REGIONS = ("eu-west", "us-east")
MODELS = "models"


@dataclass(frozen=True)
class Release:
    """The chart of a checkout, with the images built from it."""

    root: Path
    tags: Mapping[str, str]

    def install(self, cluster: Cluster, *settings: str) -> None:
        """Install it, or upgrade what is there, until the operator runs; `settings` are `name=value`."""
        repository, tag = self.tags["operator"].split(":")
        images = f"image.repository={repository},image.tag={tag},envoy.image={self.tags['envoy']}"
        cluster.helm(
            "upgrade", "--install", "tomoul", str(self.root / "charts" / "tomoul"), "--namespace", SYSTEM,
            "--values", str(self.root / "e2e" / "values.yaml"), "--set", ",".join((images, *settings)),
            "--wait", "--timeout", "4m",
        )  # fmt: skip

    def wait(self, cluster: Cluster) -> None:
        """Until every gateway, pool and model is this release's and ready."""
        # What is ready may still be what was there before: first of all the new operator has to replace the gateways.
        operator = self.tags["operator"]
        eventually(lambda: _agent_images(cluster), lambda images: images == [operator] * len(REGIONS), seconds=120)
        # A gateway that goes waits for its calls.
        settle(cluster, SYSTEM, MODELS)
        ready = ("--for=condition=Ready", "--timeout=240s")
        cluster.kubectl("wait", "regions", "--all", *ready, timeout=260)
        cluster.kubectl("wait", "modeldeployments.tomoul.ai", "-n", MODELS, "--all", *ready, timeout=260)


@dataclass(frozen=True)
class Platform:
    """The installed chart with the examples applied."""

    cluster: Cluster
    release: Release
    gateways: Mapping[str, Gateway]


def settle(cluster: Cluster, *namespaces: str) -> None:
    """Wait until no Deployment of these namespaces is being rolled out.

    `kubectl rollout status` waits in vain for one that goes meanwhile, such as a pool that is not needed any more.
    """

    def unsettled() -> list[str]:
        found = [each for namespace in namespaces for each in cluster.list("deployments", "-n", namespace)]
        return [each["metadata"]["name"] for each in found if not _settled(each)]

    eventually(unsettled, lambda names: names == [], seconds=400)


def _settled(deployment: Mapping[str, Any]) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    if status.get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    return all(status.get(name, 0) == wanted for name in ("replicas", "updatedReplicas", "availableReplicas"))


def install(cluster: Cluster, progress: Progress) -> Platform:
    """The chart installed with its own ServiceAccounts, under the strictest Pod Security, and examples/ applied."""
    release = Release(ROOT, build_images(progress))
    new_engine = load_images(cluster, release.tags, progress)
    for namespace in (SYSTEM, MODELS):
        _namespace(cluster, namespace)
    # What an interrupted run left half installed would refuse every later one.
    pending = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)"
    cluster.kubectl("delete", "secrets", "-n", SYSTEM, "-l", pending)
    with progress.step("installing the chart"):
        release.install(cluster)
    if new_engine:
        cluster.kubectl("delete", "pods", "-n", MODELS, "--all", "--wait=false")
    with progress.step("applying examples/ until every model is ready"):
        cluster.kubectl("apply", "-f", str(ROOT / "examples"))
        release.wait(cluster)
    return Platform(cluster, release, {region: gateway_of(cluster, region) for region in REGIONS})


def _agent_images(cluster: Cluster) -> list[str]:
    gateways = cluster.list("deployments", "-n", SYSTEM, "-l", "app.kubernetes.io/component=gateway")
    return [gateway["spec"]["template"]["spec"]["initContainers"][0]["image"] for gateway in gateways]


def _namespace(cluster: Cluster, name: str) -> None:
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    cluster.kubectl("apply", "--server-side", "--field-manager=e2e", "-f", "-", input=manifest)
