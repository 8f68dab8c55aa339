"""Who reaches whom, by the NetworkPolicies of chart and plan."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.chart.helm import one, operator_args, render
from tests.controlplane.harness import REPOSITORY
from tests.plan.worlds import world_of
from tests.privilege.network import Peer, Policy, connects
from tomoul.plan.planner import plan

SYSTEM = "tomoul-system"
DOWNLOADED = {"hf": {"repo": "acme/chat", "revision": "0" * 40}}
Pods = dict[str, Peer]


def cluster(*scrapers: str, egress: str = "Restricted") -> tuple[list[Policy], Pods]:
    """All policies of an installation with the examples and a model that downloads its weights, and pods by names."""
    values = [f"metrics.scrapeNamespaces={{{','.join(scrapers)}}}"] if scrapers else []
    found = [item for name in ("regions", "tiny-chat", "tiny-solo") for item in documents(name)]
    downloads = documents("tiny-solo")[-1]
    downloads["metadata"]["name"] = "downloads"
    downloads["spec"] |= {"model": {"id": "acme/chat"}, "source": DOWNLOADED, "engine": {"type": "VLLM"}}
    downloads["spec"]["capabilities"] = {}
    world = world_of([*found, downloads])
    settings = replace(world.settings, scrape_namespaces=scrapers, engine_egress=egress)
    objects = [*plan(replace(world, settings=settings)).objects, *render(*values)]
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    pods: Pods = {"outside": Peer(""), "stranger": Peer("strangers"), "neighbour": Peer("models"), "keda": Peer("keda")}
    for scraper in scrapers:
        pods[scraper] = Peer(scraper)
    for item in objects:
        if item["kind"] == "Deployment":
            template = item["spec"]["template"]
            labels, namespace = template["metadata"]["labels"], item["metadata"]["namespace"]
            names = ("tomoul.ai/model-deployment", "app.kubernetes.io/component", "tomoul.ai/region", "tomoul.ai/pool")
            name = " ".join(dict.fromkeys(labels[key] for key in names if key in labels))
            pods[name] = Peer(namespace, labels, ports_of(template["spec"]))
    assert {"tiny-chat engine eu-west default", "gateway us-east", "operator"} <= pods.keys(), sorted(pods)
    return policies, pods


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((REPOSITORY / "examples" / f"{name}.yaml").read_text()))


def ports_of(spec: dict[str, Any]) -> dict[str, int]:
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    return {port["name"]: port["containerPort"] for each in containers for port in each.get("ports", ())}


def reaching(policies: list[Policy], pods: Pods, target: str, port: int) -> set[str]:
    """Who reaches a port of a pod."""
    return {name for name, pod in pods.items() if name != target and connects(policies, pod, pods[target], port)}


def engines(pods: Pods) -> list[str]:
    return [name for name in pods if " engine " in name]


def test_an_engine_is_reached_by_the_gateways_of_its_own_region_alone() -> None:
    policies, pods = cluster()
    assert len(engines(pods)) > 3
    for engine in engines(pods):
        region = pods[engine].labels["tomoul.ai/region"]
        assert reaching(policies, pods, engine, 8000) == {f"gateway {region}"}, engine
        assert reaching(policies, pods, engine, 22) == set(), engine


def test_a_loader_tells_the_operator_alone_how_far_it_is() -> None:
    policies, pods = cluster("monitoring")
    for engine in engines(pods):
        downloads = engine.startswith("downloads")
        assert reaching(policies, pods, engine, 8001) == ({"operator"} if downloads else set()), engine
    impostor = replace(pods["operator"], namespace="models")
    (loader,) = [name for name in engines(pods) if name.startswith("downloads")]
    assert not connects(policies, impostor, pods[loader], 8001)


def test_the_labels_of_a_gateway_open_nothing_outside_the_gateways_namespace() -> None:
    policies, pods = cluster()
    for namespace in ("strangers", "models"):
        impostor = replace(pods["gateway eu-west"], namespace=namespace)
        assert not connects(policies, impostor, pods["tiny-chat engine eu-west default"], 8000)
        assert not connects(policies, impostor, pods["operator"], 9090)


def test_everybody_reaches_a_gateway_at_the_port_for_calls_and_nobody_at_another_but_scrapers_and_operator() -> None:
    policies, pods = cluster("monitoring")
    free = {name for name in pods if " engine " not in name}
    for gateway in ("gateway eu-west", "gateway us-east"):
        assert reaching(policies, pods, gateway, 8080) == free - {gateway}
        assert {port: reaching(policies, pods, gateway, port) for port in pods[gateway].ports.values()} == {
            8080: free - {gateway},
            9090: {"monitoring", "operator"},
            9091: {"monitoring"},
            9092: set(),
        }


def test_only_the_named_namespaces_read_metrics_and_without_one_the_operator_alone_those_of_gateways() -> None:
    policies, pods = cluster("monitoring")
    assert reaching(policies, pods, "operator", 9090) == {"monitoring", "keda"}
    assert reaching(policies, pods, "operator", 8081) == set()
    assert "monitoring" in reaching(policies, pods, "tiny-solo engine eu-west default", 8000)
    policies, pods = cluster()
    assert reaching(policies, pods, "operator", 9090) == {"keda"}
    assert reaching(policies, pods, "gateway eu-west", 9090) == {"operator"}
    impostor = replace(pods["operator"], namespace="strangers")
    assert not connects(policies, impostor, pods["gateway eu-west"], 9090)


def test_the_port_for_external_metrics_is_open_where_they_are_served_and_keda_reads_nothing_where_it_is_not() -> None:
    stranger, operator = Peer("strangers"), one(render(), "Deployment", "tomoul-operator")
    labels = operator["spec"]["template"]["metadata"]["labels"]
    for values, port, opened in ((("scaling.externalMetrics=true",), 8443, True), ((), 8443, False)):
        objects = render(*values)
        spec = one(objects, "Deployment", "tomoul-operator")["spec"]["template"]["spec"]
        policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
        assert connects(policies, stranger, Peer(SYSTEM, labels, ports_of(spec)), port) is opened
    policies = [item for item in render("scaling.kedaNamespace=") if item["kind"] == "NetworkPolicy"]
    target = Peer(SYSTEM, labels, ports_of(operator["spec"]["template"]["spec"]))
    assert not connects(policies, Peer("keda"), target, 9090)


def test_an_engine_begins_no_connection_but_to_download_its_weights() -> None:
    policies, pods = cluster()
    for engine in engines(pods):
        downloads = engine.startswith("downloads")
        assert connects(policies, pods[engine], pods["outside"], 443) is downloads, engine
        assert connects(policies, pods[engine], pods["stranger"], 53, "UDP") is downloads, engine
        for port in (80, 5432, 6443, 8080):
            assert not connects(policies, pods[engine], pods["outside"], port), engine
        assert not connects(policies, pods[engine], pods["gateway eu-west"], 8080), engine
        for other in engines(pods):
            assert not connects(policies, pods[engine], pods[other], 8000), (engine, other)


def test_no_engine_reaches_what_gives_out_the_nodes_credentials_wherever_its_weights_are() -> None:
    found = documents("regions")
    sources = {
        "by-hub": {"hf": {"repo": "acme/chat", "revision": "0" * 40, "endpoint": "http://hub.example.com"}},
        "by-registry": {"oci": {"reference": "registry.example.com/chat:v1", "plainHttp": True}},
        "by-bucket": {"s3": {"bucket": "weights", "folder": "chat", "endpoint": "http://minio.models"}},
    }
    for name, source in sources.items():
        model = documents("tiny-solo")[-1]
        model["metadata"]["name"] = name
        model["spec"] |= {"model": {"id": f"acme/{name}"}, "source": source, "engine": {"type": "VLLM"}}
        model["spec"]["capabilities"] = {}
        found.append(model)
    objects = plan(world_of(found)).objects
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    engines = [item for item in objects if item["kind"] == "Deployment" and item["metadata"]["namespace"] == "models"]
    assert len(engines) >= len(sources)
    for item in engines:
        engine = Peer("models", item["spec"]["template"]["metadata"]["labels"])
        for store in (Peer(""), Peer("", address="2001:db8::1"), Peer("stores")):
            assert connects(policies, engine, store, 80), "its weights"
        for metadata in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"):
            assert not connects(policies, engine, Peer("", address=metadata), 80), metadata


def test_engines_reach_what_they_like_where_the_installation_says_so() -> None:
    policies, pods = cluster(egress="Open")
    assert all(connects(policies, pods[engine], pods["outside"], 8443) for engine in engines(pods))
    assert "--engine-egress=Open" in operator_args("engines.egress=Open")


@pytest.mark.parametrize("scrapers", [(), ("monitoring", "audit")])
def test_every_pod_that_there_is_has_a_policy(scrapers: tuple[str, ...]) -> None:
    policies, pods = cluster(*scrapers)
    for name, pod in pods.items():
        if pod.labels:
            assert not connects(policies, pods["outside"], pod, 12345), name
    assert one([dict(policy) for policy in policies], "NetworkPolicy", "tomoul-operator")


def test_a_worker_is_reached_by_the_pods_of_its_own_model_and_region_alone() -> None:
    found = documents("regions")
    names = [region["metadata"]["name"] for region in found]
    for name in ("big", "other"):
        model = documents("tiny-solo")[-1]
        model["metadata"]["name"] = name
        model["spec"] |= {"model": {"id": f"acme/{name}"}, "engine": {"type": "VLLM"}, "capabilities": {}}
        model["spec"] |= {"resources": {"accelerator": "nvidia-l4", "nodes": 2}, "cache": {"noStore": "Refuse"}}
        model["spec"] |= {"regions": [{"name": each, "replicas": 1} for each in names], "routing": {}}
        found.append(model)
    objects = plan(world_of(found)).objects
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    pods: Pods = {"outside": Peer(""), "stranger": Peer("models"), "operator": Peer(SYSTEM)}
    for item in objects:
        if item["kind"] == "LeaderWorkerSet":
            for part in ("leader", "worker"):
                labels = item["spec"]["leaderWorkerTemplate"][f"{part}Template"]["metadata"]["labels"]
                name = f"{part} of {labels['tomoul.ai/model-deployment']} in {labels['tomoul.ai/region']}"
                pods[name] = Peer(item["metadata"]["namespace"], labels, {"http": 8000})
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"]["labels"]
            pods[f"gateway {labels['tomoul.ai/region']}"] = Peer(item["metadata"]["namespace"], labels)
    assert len(pods) == 3 + 2 * 2 * len(names) + len(names)
    leader, worker = f"leader of big in {names[0]}", f"worker of big in {names[0]}"
    for port in (8000, 29501, 40000):
        assert reaching(policies, pods, worker, port) == {leader}
    assert reaching(policies, pods, leader, 29501) == {worker}
    assert reaching(policies, pods, leader, 8000) == {worker, f"gateway {names[0]}"}
    for pod in (leader, worker):
        assert connects(policies, pods[pod], pods["stranger"], 53, "UDP"), "a leader is found by its name"
        assert not connects(policies, pods[pod], pods["outside"], 443)


def test_where_all_traffic_is_denied_the_policy_of_the_page_lets_through_what_was_let_through_before() -> None:
    policies, pods = cluster("monitoring")
    blocks = (REPOSITORY / "docs" / "clusters.md").read_text().split("```yaml\n")[1:]
    (allow,) = [yaml.safe_load(text) for block in blocks if "kind: NetworkPolicy" in (text := block.split("```")[0])]
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    denied = [{"metadata": {"namespace": namespace}, "spec": spec} for namespace in (SYSTEM, "models")]
    ours = [name for name in pods if name == "operator" or "gateway" in name or " engine " in name]
    asked = [
        (pods[source], pods[target], port) for source in ours for target in ours for port in (8000, 8001, 8080, 9090)
    ]
    asked += [(pods[source], pods["outside"], port) for source in ours for port in (53, 443, 6443)]
    before = [ask for ask in asked if connects(policies, *ask)]
    assert len(before) > 10
    assert [ask for ask in asked if connects([*policies, *denied, allow], *ask)] == before
    assert [ask for ask in asked if connects([*policies, *denied], *ask)] != before
