"""New revisions under load, with real engines: no call fails, whichever pod goes first."""

import json
import time
from typing import Any

import pytest

from e2e.callers import calling
from e2e.cluster import Cluster, Object
from e2e.installation import MODELS, Platform
from e2e.pods import engine_pods
from e2e.progress import Progress
from e2e.waiting import eventually

POOL = "tomoul.ai/region=eu-west,tomoul.ai/pool=default,tomoul.ai/model-deployment=tiny-chat"
DRAIN_SECONDS = 20


def change(cluster: Cluster, **rollout: Any) -> None:
    """Another revision of the model, made by its drain, and how it is to take over."""
    before = cluster.get("modeldeployments.tomoul.ai", "tiny-chat", "-n", MODELS)["spec"]["rollout"]["drainSeconds"]
    drain = DRAIN_SECONDS + (before == DRAIN_SECONDS)
    patch = json.dumps({"spec": {"rollout": {"drainSeconds": drain, **rollout}}})
    cluster.kubectl("patch", "modeldeployments.tomoul.ai", "-n", MODELS, "tiny-chat", "--type=merge", "-p", patch)


def rollout(cluster: Cluster) -> Object:
    """What the status says of it in eu-west, once it says so of the newest spec."""
    model = cluster.get("modeldeployments.tomoul.ai", "tiny-chat", "-n", MODELS)
    if model.get("status", {}).get("observedGeneration") != model["metadata"]["generation"]:
        return {}
    rows = [row for row in model["status"].get("regions", ()) if row["name"] == "eu-west"]
    return dict(rows[0].get("rollout", {})) if rows else {}


@pytest.fixture(autouse=True)
def settled(platform: Platform) -> None:
    """The model as it is before each test: of one revision and ready."""
    eventually(lambda: rollout(platform.cluster).get("phase"), lambda phase: phase == "Complete", seconds=120)
    eventually(lambda: ready_uids(platform.cluster), lambda ready: len(ready) == 2, seconds=120)


def ready_uids(cluster: Cluster) -> set[str]:
    return {
        pod["metadata"]["uid"]
        for pod in engine_pods(cluster, POOL)
        for entry in pod["status"].get("conditions", ())
        if (entry["type"], entry["status"]) == ("Ready", "True")
    }


@pytest.mark.parametrize("strategy", ["Replace", "Auto"])
def test_a_new_revision_takes_over_without_a_failed_call(platform: Platform, progress: Progress, strategy: str) -> None:
    cluster = platform.cluster
    before = ready_uids(cluster)
    with calling([*platform.gateways.values()], progress, f"all pods were replaced by {strategy}"):
        began = time.monotonic()
        change(cluster, strategy=strategy, canary=None)
        told = eventually(lambda: rollout(cluster), lambda found: found.get("phase") == "Complete", seconds=240)
        eventually(lambda: ready_uids(cluster), lambda ready: len(ready) == 2 and not ready & before, seconds=60)
        progress.say(f"rolled out by {told['strategy']} in {time.monotonic() - began:.0f} s: {told.get('message', '')}")
    # Two of the region's eight GPUs are in the pool, and others are free.
    assert told["strategy"] == ("Surge" if strategy == "Auto" else "Replace")


def test_a_canary_that_does_well_is_promoted_by_what_the_gateways_count(platform: Platform, progress: Progress) -> None:
    cluster = platform.cluster
    before = ready_uids(cluster)
    canary = {"weight": 50, "durationSeconds": 10, "minCalls": 20, "maxTtftPercent": 10_000}
    with calling([*platform.gateways.values()], progress, "a canary was tried and promoted"):
        change(cluster, canary=canary)
        tried = eventually(lambda: rollout(cluster), lambda found: found.get("phase") == "Canary", seconds=60)
        assert tried["servingRevision"] != tried["revision"]
        told = eventually(lambda: rollout(cluster), lambda found: found.get("phase") == "Complete", seconds=300)
        eventually(lambda: ready_uids(cluster), lambda ready: len(ready) == 2 and not ready & before, seconds=60)
    progress.say(f"the canary: {told['canary']}")
    assert told["revision"] == tried["revision"]
    assert told["canary"]["verdict"] == "Promoted"
    assert told["canary"]["canary"]["calls"] >= 20
