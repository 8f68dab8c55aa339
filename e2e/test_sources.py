"""Weights from a hub, by the loader in real pods: to a volume that two share, with a Secret, seen in the status."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import Cluster, Object
from e2e.command import ROOT, run
from e2e.images import ENGINE_IMAGE
from e2e.installation import MODELS, Platform
from e2e.pods import engine_pods
from e2e.progress import Progress
from e2e.waiting import eventually

NAME, MODEL, REGION = "tiny-downloaded", "tomoul/tiny-downloaded", "eu-west"
TOKEN, VOLUME = "hub-token", "weights"
FOLDER = "/var/tomoul-weights"
SECONDS = "12"
"""How long the hub takes for the file: long enough for the operator to ask in between."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.kubectl("apply", "-n", MODELS, "-f", "-", input=text)


def hub() -> list[dict[str, Any]]:
    command = ["/opt/engine/bin/python", "-c", (ROOT / "e2e" / "hub.py").read_text()]
    container = {
        "name": "hub",
        "image": ENGINE_IMAGE,
        "command": [*command, "/models/tiny.gguf", "right", SECONDS],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
    }
    meta = {"name": "hub", "labels": {"app": "hub"}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    ports = {"selector": {"app": "hub"}, "ports": [{"port": 8080}]}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hub"}, "spec": ports},
    ]


def volume() -> list[dict[str, Any]]:
    """A folder of the region's node: kind has no provisioner for volumes of several pods."""
    size = {"storage": "100Mi"}
    modes = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    place = {"capacity": size, "hostPath": {"path": FOLDER}, "claimRef": {"namespace": MODELS, "name": VOLUME}}
    claim = {"resources": {"requests": size}, "volumeName": VOLUME}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": VOLUME}, "spec": {**modes, **place}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": VOLUME}, "spec": {**modes, **claim}},
    ]


def model() -> dict[str, Any]:
    source = {
        "repo": "tomoul/tiny",
        "revision": "main",
        "file": "tiny.gguf",
        "endpoint": f"http://hub.{MODELS}.svc:8080",
        "token": {"name": TOKEN, "key": "token"},
    }
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME},
        "spec": {
            "model": {"id": MODEL},
            "source": {"hf": source},
            "engine": {"type": "LlamaCpp"},
            "resources": {"cpu": "100m", "memory": "256Mi"},
            "regions": [{"name": REGION, "replicas": 2, "weightsClaim": VOLUME}],
            "rollout": {"drainSeconds": 5},
        },
    }


def secret(token: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": TOKEN}, "stringData": {"token": token}}


@pytest.fixture
def sources(platform: Platform) -> Iterator[Cluster]:
    cluster = platform.cluster
    node = cluster.workers()[REGION]["metadata"]["name"]
    run("docker", "exec", node, "sh", "-c", f"rm -rf {FOLDER} && mkdir -m 777 {FOLDER}")
    apply(cluster, *hub(), *volume())
    cluster.kubectl("wait", "-n", MODELS, "pod/hub", "--for=condition=Ready", "--timeout=60s")
    yield cluster
    # The tests that come after it know nothing of it.
    kinds = (f"modeldeployments.tomoul.ai/{NAME}", f"secret/{TOKEN}", "pod/hub", "service/hub", f"pvc/{VOLUME}")
    cluster.kubectl("delete", "-n", MODELS, "--ignore-not-found", *kinds)
    cluster.kubectl("delete", "--ignore-not-found", f"pv/{VOLUME}")
    label = f"tomoul.ai/model-deployment={NAME}"
    eventually(lambda: cluster.list("pods", "-n", MODELS, "-l", label), lambda left: not left, seconds=60)


def test_weights_come_once_for_two_pods_and_the_status_tells_what_is_missing_what_is_refused_and_how_far_it_is(
    sources: Cluster, platform: Platform, progress: Progress
) -> None:
    apply(sources, model())

    def row() -> Object:
        found = sources.get("modeldeployments.tomoul.ai", "-n", MODELS, NAME).get("status", {}).get("regions", [{}])
        return found[0] if found else {}

    def model_ready() -> tuple[str, str]:
        for entry in row().get("conditions", ()):
            if entry["type"] == "ModelReady":
                return entry["reason"], entry["message"]
        return "", ""

    _, words = eventually(model_ready, lambda found: found[0] == "StartFailed", seconds=30)
    assert f'secret "{TOKEN}" not found' in words
    apply(sources, secret("wrong"))
    _, words = eventually(model_ready, lambda found: found[0] == "DownloadFailed", seconds=60)
    assert "`tomoul/tiny` at revision `main` on http://hub.models.svc:8080: HTTP 403" in words
    assert "name a Secret in `spec.source` whose credentials may read it" in words
    apply(sources, secret("right"))
    # Kubernetes waits longer before each start; who has put the Secret right need not.
    pods = [pod["metadata"]["name"] for pod in engine_pods(sources, f"tomoul.ai/model-deployment={NAME}")]
    sources.kubectl("delete", "pods", "-n", MODELS, *pods, "--wait=false")
    download = eventually(lambda: row().get("download"), lambda found: bool(found), seconds=40)
    progress.say(f"status.regions[0].download: {json.dumps(download)}")
    assert 0 <= download["bytes"] <= download["total"]
    ready = ("--for=condition=Ready", "--timeout=120s")
    sources.kubectl("wait", "-n", MODELS, f"modeldeployments.tomoul.ai/{NAME}", *ready, timeout=140)
    assert "download" not in row()
    assert sources.kubectl("logs", "-n", MODELS, "hub").count("download from 0") == 1
    answer = eventually(
        lambda: platform.gateways[REGION].chat("Hello", model=MODEL), lambda found: found.status_code == 200
    )
    assert answer.headers["x-tomoul-region"] == REGION
