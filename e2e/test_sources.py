"""Weights from a hub, by the loader in real pods: to a volume that two share, with a Secret, seen in the status."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import Cluster
from e2e.command import ROOT, run
from e2e.images import ENGINE_IMAGE
from e2e.installation import MODELS, Platform
from e2e.manifests import apply, model, model_ready, remove, row_of, secret, until_ready, volume
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


@pytest.fixture
def sources(platform: Platform) -> Iterator[Cluster]:
    cluster = platform.cluster
    node = cluster.workers()[REGION]["metadata"]["name"]
    run("docker", "exec", node, "sh", "-c", f"rm -rf {FOLDER} && mkdir -m 777 {FOLDER}")
    apply(cluster, *hub(), *volume(VOLUME, FOLDER))
    cluster.kubectl("wait", "-n", MODELS, "pod/hub", "--for=condition=Ready", "--timeout=60s")
    yield cluster
    remove(cluster, NAME, others=(f"secret/{TOKEN}", "pod/hub", "service/hub"), volume=VOLUME)


def test_weights_come_once_for_two_pods_and_the_status_tells_what_is_missing_what_is_refused_and_how_far_it_is(
    sources: Cluster, platform: Platform, progress: Progress
) -> None:
    source = {
        "repo": "tomoul/tiny",
        "revision": "main",
        "file": "tiny.gguf",
        "endpoint": f"http://hub.{MODELS}.svc:8080",
        "token": {"name": TOKEN, "key": "token"},
    }
    apply(sources, model(NAME, {"hf": source}, {"name": REGION, "replicas": 2, "weightsClaim": VOLUME}))

    def ready() -> tuple[str, str]:
        return model_ready(sources, NAME)

    _, words = eventually(ready, lambda found: found[0] == "StartFailed", seconds=30)
    assert f'secret "{TOKEN}" not found (`spec.source.hf.token` names its key `token`)' in words
    apply(sources, secret(TOKEN, token="wrong"))
    _, words = eventually(ready, lambda found: found[0] == "DownloadFailed", seconds=60)
    assert "`tomoul/tiny` at revision `main` on http://hub.models.svc:8080: HTTP 403" in words
    assert "name a Secret in `spec.source` whose credentials may read it" in words
    apply(sources, secret(TOKEN, token="right"))
    # Kubernetes waits longer before each start; who has put the Secret right need not.
    pods = [pod["metadata"]["name"] for pod in engine_pods(sources, f"tomoul.ai/model-deployment={NAME}")]
    sources.kubectl("delete", "pods", "-n", MODELS, *pods, "--wait=false")
    download = eventually(lambda: row_of(sources, NAME).get("download"), lambda found: bool(found), seconds=40)
    progress.say(f"status.regions[0].download: {json.dumps(download)}")
    assert 0 <= download["bytes"] <= download["total"]
    until_ready(sources, NAME)
    assert "download" not in row_of(sources, NAME)
    assert sources.kubectl("logs", "-n", MODELS, "hub").count("download from 0") == 1
    answer = eventually(
        lambda: platform.gateways[REGION].chat("Hello", model=MODEL), lambda found: found.status_code == 200
    )
    assert answer.headers["x-tomoul-region"] == REGION
