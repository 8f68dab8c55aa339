"""The platform as its users meet it. The tests run in this order; the last ones take things away."""

import json
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from e2e.callers import calling
from e2e.cluster import Cluster, Object
from e2e.command import ROOT
from e2e.gateway import CHAT, SOLO, SYSTEM, gateway_of, usage
from e2e.installation import MODELS, REGIONS, Platform
from e2e.pods import conditions, engine_pods, gateway_pods, living, metrics_of, ready_names, region_of
from e2e.progress import Progress
from e2e.waiting import eventually

TEMPLATE_TOKENS = 16
"""All prompts begin with the chat template's first tokens, which any other call may have left in a cache."""


def tokens_predicted(cluster: Cluster) -> dict[str, int]:
    """Tokens that the engines have generated, by region, by their own count."""
    totals = dict.fromkeys(REGIONS, 0)
    for pod in engine_pods(cluster):
        totals[region_of(pod)] += metrics_of(cluster, pod)["llamacpp:tokens_predicted_total"]
    return totals


def fresh_prompt() -> str:
    """A prompt that no cache has seen, long enough to be cached."""
    return f"{uuid.uuid4().hex} " + "the same words again and again " * 4


def test_every_pod_runs_on_a_node_of_its_region_with_the_gpu_that_it_requests(platform: Platform) -> None:
    cluster = platform.cluster
    region_of_node = {node["metadata"]["name"]: region for region, node in cluster.workers().items()}
    engines, gateways = engine_pods(cluster), gateway_pods(cluster)
    assert len(gateways) == 4
    for pod in (*engines, *gateways):
        assert region_of_node[pod["spec"]["nodeName"]] == region_of(pod)
    for pod in engines:
        granted = pod["spec"]["containers"][0]["resources"]
        assert granted["requests"]["nvidia.com/gpu"] == granted["limits"]["nvidia.com/gpu"] == "1"
    # tiny-chat's pools of 2 and 1, its two pools without a cache, and tiny-solo.
    assert sorted(map(region_of, engines)) == ["eu-west"] * 4 + ["us-east"] * 2
    eventually(partial(gpus, cluster, "eu-west"), lambda found: found == (8, 4))
    eventually(partial(gpus, cluster, "us-east"), lambda found: found == (8, 2))


def gpus(cluster: Cluster, region: str) -> tuple[int, int]:
    """GPUs that a region has, and those that its pods request, as its status says."""
    (accelerator,) = cluster.get("region", region)["status"]["accelerators"]
    return accelerator["allocatable"], accelerator["requested"]


def test_every_model_is_ready_and_every_gateway_has_acknowledged_its_routes(platform: Platform) -> None:
    cluster = platform.cluster
    models = cluster.list("modeldeployments.tomoul.ai", "-n", MODELS)
    assert {model["spec"]["model"]["id"] for model in models} == {CHAT, SOLO}
    for model in models:
        assert conditions(model["status"])["Ready"] == conditions(model["status"])["RoutesProgrammed"] == "True"
        for row in model["status"]["regions"]:
            assert conditions(row)["RoutesProgrammed"] == "True"
    for region in REGIONS:
        names = [pod["metadata"]["name"] for pod in gateway_pods(cluster) if region_of(pod) == region]
        assert len(names) == 2
        eventually(partial(behind, cluster, region, names), lambda late: not late)


def behind(cluster: Cluster, table: str, gateways: Sequence[str]) -> list[str]:
    """Those of the gateways that have not accepted the newest generation of their RoutingTable."""
    found = cluster.get("routingtable", table)
    accepted = {entry["name"]: entry["acceptedGeneration"] for entry in found["status"]["gateways"]}
    return [name for name in gateways if accepted.get(name) != found["metadata"]["generation"]]


def test_a_user_sees_models_regions_and_tables_in_one_command(platform: Platform, progress: Progress) -> None:
    shown = platform.cluster.kubectl("get", "tmd,regions,routingtables", "-A", "-o", "wide")
    progress.say(f"kubectl get tmd,regions,routingtables -A -o wide\n{shown}")
    for name in (CHAT, SOLO, *REGIONS):
        assert name in shown


@pytest.mark.parametrize("region", REGIONS)
def test_a_hundred_calls_pinned_to_a_region_are_answered_by_its_pods_and_by_no_others(
    platform: Platform, region: str
) -> None:
    before = tokens_predicted(platform.cluster)
    # Half of them enter at the other region's gateway and are forwarded.
    entries = [platform.gateways[entry] for entry in REGIONS] * 50
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda entry: entry.chat(f"Hello {uuid.uuid4()}", region=region), entries))
    assert {(answer.status_code, answer.headers["x-tomoul-region"]) for answer in answers} == {(200, region)}
    generated = {name: count - before[name] for name, count in tokens_predicted(platform.cluster).items()}
    assert generated == dict.fromkeys(REGIONS, 0) | {region: sum(usage(answer)[0] for answer in answers)}


@pytest.mark.parametrize("region", REGIONS)
def test_a_stream_passes_through_the_gateways_in_chunks_under_one_id(platform: Platform, region: str) -> None:
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Count"}], "max_tokens": 32, "stream": True}
    client, pin = platform.gateways["eu-west"].client, {"X-Tomoul-Region": region}
    with client.stream("POST", "/v1/chat/completions", json=body, headers=pin) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-tomoul-region"] == region
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert sum(bool(choice["delta"].get("content")) for chunk in chunks for choice in chunk["choices"]) > 2
    (completion,) = {chunk["id"] for chunk in chunks}
    assert completion.startswith("chatcmpl_")


def test_no_store_reads_nothing_and_leaves_nothing_behind(platform: Platform) -> None:
    # us-east has one replica, so that a cached prompt would be found.
    gateway, prompt = platform.gateways["us-east"], fresh_prompt()
    cached = [
        usage(gateway.chat(prompt, region="us-east", no_store=no_store))[1]
        for no_store in (True, True, False, False, True)
    ]
    assert cached[0] == cached[1] == cached[4] == 0
    assert cached[2] <= TEMPLATE_TOKENS
    assert cached[3] > 100


def test_a_region_without_the_model_is_refused_with_the_regions_that_have_it(platform: Platform) -> None:
    for gateway in platform.gateways.values():
        answer = gateway.chat("Hello", model=SOLO, region="us-east")
        assert answer.status_code == 404
        assert answer.headers["x-tomoul-region"] == "us-east"
        error = answer.json()["error"]
        assert (error["code"], error["available_regions"]) == ("model_not_available_in_region", ["eu-west"])
    assert platform.gateways["eu-west"].chat("Hello", model=SOLO, region="eu-west").status_code == 200


def test_the_deletion_of_one_of_two_pods_fails_no_call(platform: Platform, progress: Progress) -> None:
    pool = "tomoul.ai/region=eu-west,tomoul.ai/pool=default,tomoul.ai/model-deployment=tiny-chat"
    before = {pod["metadata"]["name"] for pod in engine_pods(platform.cluster, pool)}
    assert len(before) == 2
    with calling([*platform.gateways.values()], progress, "a pod was deleted and replaced"):
        platform.cluster.kubectl("delete", "pod", "-n", MODELS, min(before), timeout=120)
        eventually(lambda: ready_names(platform.cluster, pool), lambda ready: len(ready - before) == 1, seconds=90)


def test_deleting_a_gateway_pod_fails_no_call(platform: Platform, progress: Progress) -> None:
    """Callers keep their connections, as the OpenAI SDK does, so that some are open to the pod that goes away."""
    cluster = platform.cluster
    before = {pod["metadata"]["name"] for pod in gateway_pods(cluster) if region_of(pod) == "eu-west"}
    assert len(before) == 2
    own = [gateway_of(cluster, "eu-west") for _ in range(2)]
    with calling([*own, platform.gateways["us-east"]], progress, "a gateway pod was deleted and replaced"):
        started = time.monotonic()
        # Returns once the pod is gone.
        cluster.kubectl("delete", "pod", "-n", SYSTEM, min(before), timeout=120)
        took = time.monotonic() - started
        eventually(lambda: ready_gateways(cluster, "eu-west"), lambda ready: len(ready - before) == 1, seconds=90)
    for gateway in own:
        gateway.client.close()
    assert took >= 10, "it did not wait for its calls to end"


def ready_gateways(cluster: Cluster, region: str) -> set[str]:
    pods = [pod for pod in gateway_pods(cluster) if region_of(pod) == region]
    return {pod["metadata"]["name"] for pod in pods if conditions(pod["status"]).get("Ready") == "True"}


def test_a_deleted_model_leaves_no_pods_and_no_routes(platform: Platform) -> None:
    cluster, label = platform.cluster, "tomoul.ai/model-deployment=tiny-chat"
    cluster.kubectl("delete", "modeldeployments.tomoul.ai", "-n", MODELS, "tiny-chat")
    kinds = "deployments,pods,services,serviceaccounts,endpointslices,poddisruptionbudgets,networkpolicies"
    eventually(lambda: names_of(cluster.list(kinds, "-n", MODELS, "-l", label)), lambda left: not left, seconds=90)
    for region, gateway in platform.gateways.items():
        eventually(partial(routes, cluster, region), lambda ids: ids == [SOLO])
        eventually(gateway.models, lambda ids: ids == {SOLO})
        answer = gateway.chat("Hello")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert platform.gateways["eu-west"].chat("Hello", model=SOLO).status_code == 200
    cluster.kubectl("apply", "-f", str(ROOT / "examples"))


def names_of(objects: Sequence[Object]) -> list[str]:
    return [f"{found['kind']}/{found['metadata']['name']}" for found in objects]


def routes(cluster: Cluster, table: str) -> Sequence[str]:
    return [model["id"] for model in cluster.get("routingtable", table)["spec"].get("models", ())]


def test_the_api_server_refused_the_operator_and_the_agents_nothing(platform: Platform) -> None:
    operators = platform.cluster.list("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator")
    for pod in (*living(operators), *gateway_pods(platform.cluster)):
        container = "agent" if "initContainers" in pod["spec"] else "operator"
        logs = ("logs", "-n", SYSTEM, pod["metadata"]["name"], "-c", container, "--tail=-1")
        said = platform.cluster.kubectl(*logs).splitlines()
        assert said
        assert [line for line in said if "forbidden" in line.lower()] == []
        statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"]["containerStatuses"]]
        assert [status["restartCount"] for status in statuses] == [0] * len(statuses)
