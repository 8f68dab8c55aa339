"""From the previous commit's chart and operator to this one's, while callers call."""

from pathlib import Path

import pytest
import yaml

from e2e.callers import calling
from e2e.cluster import Cluster, Object
from e2e.command import ROOT, CommandError, run
from e2e.gateway import gateway_of
from e2e.images import build_images, load_images
from e2e.installation import MODELS, REGIONS, Platform, Release
from e2e.pods import conditions
from e2e.progress import Progress

KINDS = ("regions", "modeldeployments.tomoul.ai", "tenants")


@pytest.fixture
def previous(platform: Platform, progress: Progress, tmp_path: Path) -> Release:
    """The previous commit's chart and images, installed, with the examples of that time applied."""
    try:
        commit = run("git", "rev-parse", "--verify", "HEAD~1").strip()
    except CommandError:
        pytest.skip("this checkout has no previous commit to upgrade from")
    root = tmp_path / "previous"
    root.mkdir()
    run("git", "archive", commit, "-o", tmp_path / "previous.tar")
    run("tar", "-xf", tmp_path / "previous.tar", "-C", root)
    release = Release(root, build_images(progress, root, ("operator", "envoy"), "previous"))
    load_images(platform.cluster, release.tags, progress)
    with progress.step("going back to the previous commit's chart"):
        release.install(platform.cluster)
        # Not what other tests have made of them: a canary without calls would wait for calls.
        for model in platform.cluster.list("modeldeployments.tomoul.ai", "-n", MODELS):
            unset = '{"spec":{"rollout":null}}'
            name = model["metadata"]["name"]
            platform.cluster.kubectl("patch", "tmd", name, "-n", MODELS, "--type=merge", "-p", unset)
        platform.cluster.kubectl("apply", "-f", str(root / "examples"))
        release.wait(platform.cluster)
    return release


def objects(cluster: Cluster) -> dict[str, Object]:
    """What people have written, by kind and name."""
    found = [item for kind in KINDS for item in cluster.list(kind, "-A")]
    return {f"{item['kind']} {item['metadata']['name']}": item for item in found}


def test_an_upgrade_from_the_previous_commits_chart_fails_no_call_and_changes_nothing_that_was_written(
    platform: Platform, previous: Release, progress: Progress
) -> None:
    cluster = platform.cluster
    written = objects(cluster)
    assert len(written) >= 4
    entries = [gateway_of(cluster, region) for region in REGIONS]
    with (
        calling(entries, progress, "the chart was upgraded"),
        progress.step(f"upgrading from {previous.tags['operator']} with traffic"),
    ):
        platform.release.install(cluster)
        platform.release.wait(cluster)
    for entry in entries:
        entry.client.close()
    for name, after in objects(cluster).items():
        assert lost(written[name]["spec"], after["spec"]) == [], name
        assert written[name]["metadata"]["uid"] == after["metadata"]["uid"]
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(file.read_text())
        live = cluster.get("crd", crd["metadata"]["name"])
        assert conditions(live["status"])["Established"] == "True"
        assert lost(crd["spec"]["versions"], live["spec"]["versions"]) == [], "the chart upgrades it"


def lost(before: object, after: object, path: str = "") -> list[str]:
    """Paths of what `before` says and `after` does not. A newer definition may add defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [gone for key in before for gone in lost(before[key], after.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [gone for place, value in enumerate(before) for gone in lost(value, after[place], f"{path}[{place}]")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]
