"""A download in a model's status: the real loader's answers, asked by an operator on a real control plane."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tests.controlplane.kubelet import running
from tests.integration.cluster import Cluster, Object, model, running_cluster
from tests.integration.operators import condition
from tomoul.loader.progress import Progress
from tomoul.loader.server import serving
from tomoul.plan.weights import LOADER_PORT

ADDRESS = "127.77.0.1"
"""The pod's, which only this test has."""
NAME, NAMESPACE = "downloads", "models"


def loading(pod: Object) -> Mapping[str, Any]:
    """Pods of the model run their loader; all others run."""
    if pod["metadata"]["labels"].get("tomoul.ai/model-deployment") != NAME:
        return running(pod)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    loader = {"name": "loader", "image": "i", "imageID": "", "ready": False, "started": True, "restartCount": 0}
    return {
        "phase": "Pending",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "initContainerStatuses": [{**loader, "state": state}],
    }


def loaded(pod: Object) -> Mapping[str, Any]:
    """The loader has done its work, and the engine runs."""
    if pod["metadata"]["labels"].get("tomoul.ai/model-deployment") != NAME:
        return running(pod)
    (loader,) = loading(pod)["initContainerStatuses"]
    ended = {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:05:00Z"}
    done = {**loader, "ready": True, "state": {"terminated": {**ended, "reason": "Completed"}}}
    return {**running(pod), "initContainerStatuses": [done]}


@pytest.fixture
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator"), loading) as started:
        yield started


def test_a_download_shows_in_the_status_its_stall_is_a_reason_with_an_event_and_it_goes_when_the_engine_runs(
    cluster: Cluster,
) -> None:
    seconds = [0.0]
    progress = Progress(monotonic=lambda: seconds[0])
    progress.begin(0, 4000)
    progress.enter("Downloading")
    progress.add(1000)
    source = {"hf": {"repo": "acme/chat", "revision": "main", "file": "q4.gguf"}}
    with serving(progress, LOADER_PORT, ADDRESS):
        regions = [{"name": "eu-west", "replicas": 1}]
        cluster.apply(model(NAME, NAMESPACE, source=source, regions=regions))

        def row() -> Object:
            found: list[Object] = cluster.model(NAME, NAMESPACE).get("status", {}).get("regions", [])
            assert found
            return found[0]

        def downloads() -> Object:
            assert "download" in row()
            found: Object = row()["download"]
            return found

        def stalls() -> Object:
            item = cluster.model(NAME, NAMESPACE)
            assert condition(item, "ModelReady")["reason"] == item["status"]["reason"] == "DownloadStalled"
            return item

        found = eventually(downloads)
        assert (found["state"], found["bytes"], found["total"], found["pods"]) == ("Downloading", 1000, 4000, 1)
        assert row()["waitingFor"].endswith("brings its weights since 2026-01-01T00:00:00Z")
        seconds[0] = 180
        progress.failed("the hub answers nothing")
        stalled = eventually(stalls)
        words = condition(stalled, "ModelReady")["message"]
        assert "no byte of the weights has come since" in words
        assert "1000 of 4000 bytes are there (the hub answers nothing)" in words

        def warned() -> bool:
            events = cluster.api.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")["items"]
            assert [event["type"] for event in events if event["reason"] == "DownloadStalled"] == ["Warning"]
            return True

        eventually(warned)
        cluster.kubelet.set_status(loaded)

        def runs() -> bool:
            cluster.acknowledge_all()
            assert "download" not in row()
            assert condition(cluster.model(NAME, NAMESPACE), "ModelReady")["status"] == "True"
            return True

        eventually(runs)
