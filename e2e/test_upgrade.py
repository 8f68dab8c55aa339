"""From the previous commit's chart and operator to this one's, while callers call."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from e2e.cluster import NAME, Cluster, Object
from e2e.command import ROOT, CommandError, run
from e2e.gateway import SYSTEM, gateway_of
from e2e.installation import MODELS, REGIONS, Platform
from e2e.progress import Progress
from e2e.test_platform import call_until
from e2e.waiting import eventually

KINDS = ("regions", "modeldeployments.tomoul.ai", "tenants")


@dataclass(frozen=True)
class Release:
    """A chart, the values that it is installed with, and the operator's image."""

    chart: Path
    values: Path
    image: str

    def install(self, cluster: Cluster) -> None:
        """Install it over whatever is there, and wait until everything runs as it says."""
        repository, tag = self.image.split(":")
        cluster.helm(
            "upgrade", "tomoul", str(self.chart), "--namespace", SYSTEM, "--values", str(self.values),
            "--set", f"image.repository={repository},image.tag={tag}", "--wait", "--timeout", "4m",
        )  # fmt: skip
        eventually(lambda: agents(cluster), lambda images: images == [self.image] * len(REGIONS), 120)
        for namespace in (SYSTEM, MODELS):
            # A gateway pod that goes waits for its calls, and there are always some.
            cluster.kubectl("rollout", "status", "deployments", "-n", namespace, "--timeout=400s", timeout=420)
        ready = ("--for=condition=Ready", "--timeout=240s")
        cluster.kubectl("wait", "modeldeployments.tomoul.ai", "-n", MODELS, "--all", *ready, timeout=260)


def agents(cluster: Cluster) -> list[str]:
    gateways = cluster.list("deployments", "-n", SYSTEM, "-l", "app.kubernetes.io/component=gateway")
    return [gateway["spec"]["template"]["spec"]["initContainers"][0]["image"] for gateway in gateways]


@pytest.fixture
def releases(platform: Platform, progress: Progress, tmp_path: Path) -> tuple[Release, Release]:
    """The previous commit's and this one's."""
    try:
        commit = run("git", "rev-parse", "--verify", "HEAD~1").strip()
    except CommandError:
        pytest.skip("there is no previous commit here")
    values = tmp_path / "values.yaml"
    values.write_text(platform.cluster.helm("get", "values", "tomoul", "-n", SYSTEM, "-o", "yaml"))
    here = platform.cluster.get("deployment", "-n", SYSTEM, "tomoul-operator")
    image = here["spec"]["template"]["spec"]["containers"][0]["image"]
    before = tmp_path / "before"
    before.mkdir()
    run("git", "archive", commit, "-o", tmp_path / "before.tar")
    run("tar", "-xf", tmp_path / "before.tar", "-C", before)
    old = f"tomoul/operator:before-{commit[:12]}"
    with progress.step("building and loading the previous commit's operator"):
        run("docker", "build", "-q", "-t", old, "-f", before / "images/operator/Dockerfile", before, timeout=900)
        nodes = ",".join(node["metadata"]["name"] for node in platform.cluster.workers().values())
        run("kind", "load", "docker-image", old, "--name", NAME, "--nodes", nodes, timeout=600)
    chart = Path("charts/tomoul")
    return Release(before / chart, values, old), Release(ROOT / chart, values, image)


def specs(cluster: Cluster) -> dict[str, Object]:
    """What people have written, by kind and name."""
    found = [item for kind in KINDS for item in cluster.list(kind, "-A")]
    return {f"{item['kind']} {item['metadata']['name']}": item["spec"] for item in found}


def test_an_upgrade_from_the_previous_commits_chart_fails_no_call(
    platform: Platform, releases: tuple[Release, Release], progress: Progress
) -> None:
    cluster, (before, now) = platform.cluster, releases
    with progress.step("going back to the previous commit's chart"):
        before.install(cluster)
    written = specs(cluster)
    assert written
    stop = threading.Event()
    outcomes: list[str] = []
    entries = [gateway_of(cluster, region) for region in REGIONS for _ in range(2)]
    with ThreadPoolExecutor(len(entries)) as callers:
        calls = [callers.submit(call_until, stop, entry, outcomes) for entry in entries]
        try:
            eventually(lambda: len(outcomes), lambda count: count >= 50)
            with progress.step("upgrading with traffic"):
                now.install(cluster)
            upgraded = len(outcomes)
            eventually(lambda: len(outcomes), lambda count: count >= upgraded + 50)
        finally:
            stop.set()
    for call in calls:
        call.result()
    for entry in entries:
        entry.client.close()
    progress.say(f"{len(outcomes)} calls during the upgrade")
    assert set(outcomes) == {"200 eu-west"}
    assert specs(cluster) == written
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(file.read_text())
        live = cluster.get("crd", crd["metadata"]["name"])
        assert live["spec"]["versions"][0]["schema"] == crd["spec"]["versions"][0]["schema"], "the chart upgrades it"
