"""What people see of a model: its status and Events as kubectl prints them, which docs/status.md repeats."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY, ControlPlane
from tests.controlplane.kubelet import Status, crashing, evicted, running, starting, waiting
from tests.integration.cluster import Cluster, Object, running_cluster
from tests.integration.operators import condition

PAGE = REPOSITORY / "docs" / "status.md"
WITH_ROWS = "It waits for GPUs"
"""Heading of the example that has the rows of the regions, too; one is enough."""
NAMESPACE = "models"
NEW_IMAGE = "vllm/vllm-openai:v0.32.0"
LOG = """\
ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`.
/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked
  warnings.warn(
"""
gone: set[str] = set()
"""Models of which a pod has failed already."""
crashes, starts = crashing(1, LOG), starting("2026-01-01T12:30:05Z")


LOW = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 512Mi."
FAILURES: Mapping[str, tuple[Status, str, str]] = {
    "unpulled": (waiting("ErrImagePull", "manifest unknown"), "ImagePullFailed", "cannot be pulled: manifest unknown"),
    "unstarted": (
        waiting("CreateContainerConfigError", 'secret "hf-token" not found'),
        "StartFailed",
        '(CreateContainerConfigError): secret "hf-token" not found',
    ),
    "hungry": (crashing(137, "", "OOMKilled"), "OutOfMemory", "more memory than its limit"),
    "hung": (crashing(143, ""), "ProbeFailed", "was killed (exit code 143)"),
    "evicted": (evicted(LOW), "NodeDiskPressure", "gave it up, Evicted: The node was low on resource"),
}
"""By model: what its pods say, and what is to be said of it."""


def pods(pod: Object) -> Mapping[str, Any]:
    """Pods of mistral-7b crash, those of phi-4's new revision load, those that are to fail do, and all others run."""
    name = pod["metadata"]["labels"].get("tomoul.ai/model-deployment")
    if name == "evicted" and name in gone:
        return starts(pod) or {}
    if name in FAILURES:
        gone.add(name)
        return FAILURES[name][0](pod) or {}
    if name == "mistral-7b":
        return crashes(pod) or {}
    if pod["spec"]["containers"][0]["image"] == NEW_IMAGE:
        return starts(pod) or {}
    return running(pod)


def model(name: str, repo: str, replicas: int = 1, gpus: int = 1, **engine: Any) -> Object:
    source = {"hf": {"repo": repo, "revision": "187ef0342fff0eb3333be9f00389385e95ef0b61"}}
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"id": repo},
            "source": source,
            "engine": {"type": "VLLM", "image": "vllm/vllm-openai:v0.31.0", **engine},
            "resources": {"accelerator": "nvidia-l4", "count": gpus},
            "regions": [{"name": "eu-west", "replicas": replicas}],
        },
    }


PHI = model("phi-4", "microsoft/phi-4", replicas=2)
MISTRAL = model("mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3", args=["--gpu-memory-utilization", "0.2"])
LLAMA = model("llama-3-1-70b", "meta-llama/Llama-3.1-70B-Instruct", gpus=8)


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A region of eight GPUs: phi-4 has two and serves, mistral-7b has one and crashes, llama-3-1-70b wants eight."""
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator"), pods) as started:
        started.regions_ready()
        started.apply(PHI)
        started.ready("phi-4", NAMESPACE)
        started.apply(MISTRAL)
        eventually(lambda: reason(started, "mistral-7b", "WorkloadReady") == "CrashLoop")
        started.apply(LLAMA)
        eventually(lambda: reason(started, "llama-3-1-70b", "Scheduled") == "Unschedulable")
        yield started


def reason(cluster: Cluster, name: str, kind: str) -> str:
    cluster.acknowledge_all()
    return str(condition(cluster.model(name, NAMESPACE), kind, "eu-west")["reason"])


def row(cluster: Cluster, name: str) -> Object:
    found: Object = cluster.model(name, NAMESPACE)["status"]["regions"][0]
    return found


def settled(cluster: Cluster) -> bool:
    """Whether gateways serve all routes, so that nothing else is waited for."""
    return {reason(cluster, name, "RoutesProgrammed") for name in ("phi-4", "mistral-7b", "llama-3-1-70b")} == {
        "Acknowledged"
    }


def test_the_page_shows_a_model_that_waits_for_gpus(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    cluster.ready("phi-4", NAMESPACE)
    eventually(lambda: settled(cluster))
    shows(cluster, request, "It waits for GPUs", "llama-3-1-70b")


def test_the_page_shows_a_model_that_crashes(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    eventually(lambda: settled(cluster))
    found = condition(cluster.model("mistral-7b", NAMESPACE), "WorkloadReady", "eu-west")
    assert "exit code 1: ValueError: No available memory for the cache blocks" in found["message"]
    shows(cluster, request, "Its engine crashes", "mistral-7b")


def test_the_page_shows_a_model_in_the_middle_of_a_rollout(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    serving = {pod["metadata"]["uid"] for pod in cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]}
    cluster.apply(model("phi-4", "microsoft/phi-4", replicas=2, image=NEW_IMAGE))
    eventually(lambda: reason(cluster, "phi-4", "WorkloadReady") == "RolloutInProgress")
    eventually(lambda: settled(cluster))
    assert reason(cluster, "phi-4", "ModelReady") == "EngineAnswered", "the old revision serves"
    shows(cluster, request, "A new revision rolls out", "phi-4")
    cluster.apply(PHI)
    cluster.ready("phi-4", NAMESPACE)
    now = {pod["metadata"]["uid"] for pod in cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]}
    assert serving == now, "going back leaves what serves alone"


def test_an_event_is_written_for_each_transition_and_none_for_a_restart(cluster: Cluster) -> None:
    def told() -> list[tuple[str, str, str, str]]:
        found = [
            (event["regarding"]["name"], event["type"], event["reason"], event["metadata"]["uid"])
            for event in cluster.api.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")["items"]
            if event["reportingController"] == "tomoul.ai/operator"
        ]
        return sorted(found)

    before = told()
    reasons = {(name, kind, reason) for name, kind, reason, _ in before}
    assert {
        ("phi-4", "Normal", "Ready"),
        ("phi-4", "Normal", "RolloutInProgress"),
        ("mistral-7b", "Warning", "CrashLoop"),
        ("llama-3-1-70b", "Warning", "Unschedulable"),
    } <= reasons
    assert len(before) == len(reasons), "what happens again is counted"
    assert cluster.leader.stop() == 0
    cluster.leader = cluster.start()
    eventually(cluster.leader.leads, 60)

    def reconciled() -> bool:
        metrics = cluster.leader.metrics()
        done = sum(value for name, value in metrics.items() if name.startswith("tomoul_reconciles_total"))
        return done >= 7 and metrics["tomoul_queue_depth"] == 0

    eventually(reconciled)
    assert sum(value for name, value in cluster.leader.metrics().items() if "tomoul_events_total" in name) == 0
    assert told() == before


def test_regions_are_told_of_too(cluster: Cluster) -> None:
    events = cluster.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    found = {(e["regarding"]["kind"], e["regarding"]["name"], e["reason"]) for e in events}
    assert ("Region", "eu-west", "Ready") in found


def test_needed_and_free_gpus_are_told_and_follow_what_others_use(cluster: Cluster) -> None:
    def gpus() -> tuple[int, int]:
        found = row(cluster, "llama-3-1-70b")
        return found["gpusNeeded"], found["gpusFree"]

    eventually(lambda: gpus() == (8, 5))
    since = condition(cluster.model("llama-3-1-70b", NAMESPACE), "Scheduled", "eu-west")["lastTransitionTime"]
    deployment = {**PHI, "spec": {**PHI["spec"], "regions": [{"name": "eu-west", "replicas": 1}]}}
    cluster.apply(deployment)
    eventually(lambda: gpus() == (8, 6))
    cluster.apply(PHI)
    eventually(lambda: gpus() == (8, 5))
    found = condition(cluster.model("llama-3-1-70b", NAMESPACE), "Scheduled", "eu-west")
    assert found["lastTransitionTime"] == since, "it still waits for the same"
    assert "Insufficient nvidia.com/gpu" in found["message"]


def test_each_way_in_which_a_pod_fails_has_its_reason_and_its_event(cluster: Cluster) -> None:
    for name in FAILURES:
        item = model(name, f"acme/{name}")
        item["spec"]["resources"] = {"cpu": "100m"}
        cluster.apply(item)

    def told() -> None:
        for name, (_, expected, words) in FAILURES.items():
            for kind in ("ModelReady", "WorkloadReady"):
                found = condition(cluster.model(name, NAMESPACE), kind, "eu-west")
                assert (found["reason"], words in found["message"]) == (expected, True), found
        events = cluster.api.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")["items"]
        warned = {(event["regarding"]["name"], event["reason"]) for event in events if event["type"] == "Warning"}
        assert {(name, expected) for name, (_, expected, _) in FAILURES.items()} <= warned

    eventually(lambda: [told()])


def test_a_volume_with_weights_that_there_is_not_is_named(cluster: Cluster) -> None:
    item = model("no-volume", "acme/no-volume")
    item["spec"]["source"] = {"pvc": {"claimName": "absent", "path": "chat"}}
    item["spec"]["resources"] = {"cpu": "100m"}
    cluster.apply(item)
    eventually(lambda: reason(cluster, "no-volume", "Scheduled") == "Unschedulable")
    assert 'persistentvolumeclaim "absent" not found' in row(cluster, "no-volume")["waitingFor"]


def shows(cluster: Cluster, request: pytest.FixtureRequest, heading: str, name: str) -> None:
    """Compare what kubectl describes with the block below the page's heading, or put it there."""

    def described() -> str:
        text = cluster.control_plane.kubectl("describe", "modeldeployments.tomoul.ai", name, "-n", NAMESPACE)
        assert "\nEvents:\n" in text
        return shown(text, rows=heading == WITH_ROWS)

    before, block, after = re.split(rf"(?<=## {heading}\n)(.*?```text\n.*?\n```)", PAGE.read_text(), flags=re.DOTALL)
    words, _, old = block.partition("```text\n")
    command = f"$ kubectl describe tmd {name} -n {NAMESPACE}\n"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(f"{before}{words}```text\n{command}{eventually(described)}\n```{after}")
        return

    def same() -> None:
        # A field that the page does not have yet is no lie.
        now = stable(command + described())
        assert [line for line in stable(old.removesuffix("\n```")) if line not in now] == [], now

    eventually(lambda: [same()], message="run this test with --update-golden if the page should show something else")


TRUE = re.compile(
    r"^ +Last Transition Time:.*\n +Message:.*\n(?: +[OR].*\n)+ +Status: +True\n +Type:.*\n", re.MULTILINE
)
"""A condition that is True, as kubectl describes it."""


def shown(text: str, *, rows: bool) -> str:
    """What kubectl describes, without metadata, spec and what is True, and with the rows of the regions or without."""
    head, _, rest = text.partition("Labels:")
    status = TRUE.sub("", rest[rest.index("\nStatus:") + 1 :])
    if rows:
        status = re.sub(r"(?<=\n    Conditions:\n)(?: {6}.*\n)+", "      …\n", status)
    else:
        status = re.sub(r"(?<=\n  Regions:\n).*(?=\nEvents:\n)", "    …", status, flags=re.DOTALL)
    return f"{head}…\n{status}".rstrip()


def stable(text: str) -> list[str]:
    """The lines without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"-[a-z0-9]{6,10}-[a-z0-9]{5}\b", "-POD", text)
    text = re.sub(r"\b(\d+[smh])+( \(x\d+ over .*?\))?(?=  )", "AGE", text)
    text = re.sub(r"(Programmed Route|Observed Generation|Revision): .*", r"\1: …", text)
    # An Event tells what was free when it was written, which other pods may just have been about to take.
    text = re.sub(r"(?m)^(  (?:Normal|Warning) .* )\d+( of \d+ are not requested)", r"\1…\2", text)
    return [re.sub(r"[\s-]+", " ", line).strip() for line in text.splitlines() if not set(line) <= set(" -")]
