import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, ROOT, HelmError, helm, one, operator_args, render
from tests.chart.values import OTHER, default_values, leaves
from tomoul.plan.gateway_overlay import read_overlay
from tomoul.plan.propagate import reserved

CRDS = sorted((ROOT / "crds").glob("*.yaml"))


def test_helm_lint_has_nothing_to_say_but_that_an_icon_is_missing() -> None:
    said = helm("lint", "--strict", str(CHART))
    assert [line for line in said.splitlines() if line.startswith("[")] == ["[INFO] Chart.yaml: icon is recommended"]


def test_the_charts_crds_are_those_of_the_models() -> None:
    assert CRDS
    copies = {file.name: file.read_text() for file in (CHART / "files" / "crds").iterdir()}
    assert copies == {file.name: file.read_text() for file in CRDS}, "run `make generate`"


def test_the_crds_are_installed_as_they_are_and_neither_helm_nor_argo_cd_removes_them() -> None:
    rendered = {found["metadata"]["name"]: found for found in render() if found["kind"] == "CustomResourceDefinition"}
    for file in CRDS:
        crd = yaml.safe_load(file.read_text())
        # Argo CD prunes what Helm keeps, unless it is told in its own words.
        keep = {"helm.sh/resource-policy": "keep", "argocd.argoproj.io/sync-options": "Prune=false"}
        crd["metadata"]["annotations"] = keep
        assert rendered.pop(crd["metadata"]["name"]) == crd
    assert not rendered


def test_the_crds_are_left_to_others_if_the_values_say_so() -> None:
    assert not [found for found in render("crds.install=false") if found["kind"] == "CustomResourceDefinition"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("gatway.replicas=1", "at '/gatway': value must be 'left out: there are only image, imagePullSecrets, "),
        ("gateway.replcas=1", "at '/gateway/replcas': value must be 'left out: there are only replicas, "),
        ("gateway.replicas=none", "at '/gateway/replicas'"),
        ("gateway.replicas=0", "at '/gateway/replicas'"),
        ("gateway.routesPerTable=5000", "at '/gateway/routesPerTable'"),
        ("gateway.serviceType=Loadbalancer", "value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
        ("hostRegions={EU West}", "at '/hostRegions/0'"),
        ("hostRegions=eu-west", "at '/hostRegions'"),
        ("resyncSeconds=1", "at '/resyncSeconds'"),
        ("image.tagg=1", "at '/image/tagg': value must be 'left out: there are only repository, tag, digest"),
        ("image.digest=v7", "at '/image/digest'"),
        ("imagePullSecrets=registry", "at '/imagePullSecrets'"),
        ("imagePullSecrets={My Secret}", "at '/imagePullSecrets/0'"),
        ("engines.llamaCpp.image=", "at '/engines/llamaCpp/image'"),
        (
            "engines.vllm.image=a",
            "at '/engines/vllm': value must be 'left out: there are only registry, priorityClassName",
        ),
        ("metrics.scrapeNamespaces={a b}", "at '/metrics/scrapeNamespaces/0'"),
        ("propagate.labels={a b}", "at '/propagate/labels/0'"),
        ("metrics.alerts.runbookUrl=", "at '/metrics/alerts/runbookUrl'"),
        ("metrics.dashboards.labels.a=1", "at '/metrics/dashboards/labels/a'"),
        ("engines.registry=registry.example.com/", "at '/engines/registry'"),
        ("engines.egress=Closed", "at '/engines/egress'"),
        ("workloadNamespaces={a b}", "at '/workloadNamespaces/0'"),
        ("admission.images={a}", "at '/admission/images': value must be 'left out"),
        ("operator.tolerations[0].efect=NoSchedule", "at '/operator/tolerations/0/efect': value must be 'left out"),
        ("operator.tolerations[0].effect=NoScedule", "value must be one of 'NoSchedule', 'PreferNoSchedule'"),
        ("gateway.affinity.podAntiaffinity.a=1", "only nodeAffinity, podAffinity, podAntiAffinity"),
        ("gateway.topologySpreadConstraints[0].maxSkew=1", "missing properties 'topologyKey', 'whenUnsatisfiable'"),
        ("gateway.resources.envoy.limits.memory=null", "at '/gateway/resources/envoy/limits': missing property"),
        ("gateway.service.type=NodePort", "at '/gateway/service/type': value must be 'left out"),
        ("gateway.service.loadBalancerSourceRanges={10.0.0.0}", "at '/gateway/service/loadBalancerSourceRanges/0'"),
        ("commonLabels.team=a b", "at '/commonLabels/team'"),
        ("operator.logFormat=JSON", "value must be one of 'json', 'text'"),
        ("auth=None", "at '/auth': value must be 'left out"),
        ("image.repository=registry.example.com/operator:v7", "at '/image/repository'"),
        ("operator.resources.limits.memory=512MB", "at '/operator/resources/limits/memory'"),
        ("gateway.resources.agent.requests.cpu=half", "at '/gateway/resources/agent/requests/cpu'"),
        (
            "gateway.podAnnotations.a/b/c=d",
            "at '/gateway/podAnnotations/a~1b~1c': value must be 'left out: a name is letters",
        ),
        (
            "operator.nodeSelector.a\\.\\.b/c=d",
            "at '/operator/nodeSelector/a..b~1c': value must be 'left out: a name is",
        ),
        (
            "gateway.tolerations[0].operator=Exists,gateway.tolerations[0].value=a",
            "at '/gateway/tolerations/0/value': value must be 'left out where operator is Exists'",
        ),
        ("gateway.tolerations[0].value=a", "at '/gateway/tolerations/0': missing property 'key'"),
        ("gateway.tolerations[0].key=a b", "at '/gateway/tolerations/0/key'"),
        (
            "gateway.tolerations[0].key=a,gateway.tolerations[0].tolerationSeconds=5",
            "at '/gateway/tolerations/0/tolerationSeconds': value must be 'left out unless effect is NoExecute'",
        ),
        ("commonLabels.a b=c", "at '/commonLabels/a b': value must be 'left out: a name is letters"),
    ],
)
def test_a_value_that_does_not_exist_or_fit_is_refused_by_its_name(value: str, words: str) -> None:
    with pytest.raises(HelmError) as refused:
        render(value)
    assert words in str(refused.value)


def test_a_build_of_the_chart_whose_version_is_no_label_has_labels_that_are(tmp_path: Path) -> None:
    copy = tmp_path / "tomoul"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(
        yaml.safe_dump({**about, "version": "0.1.0+build.5", "appVersion": f"0.1.0-{'a' * 56}.b"})
    )
    text = helm("template", "tomoul", str(copy), "--kube-version", "1.34.0", "--set", "crds.install=false")
    for found in yaml.safe_load_all(text):
        labels = found["metadata"]["labels"]
        assert labels["helm.sh/chart"] == "tomoul-0.1.0_build.5"
        assert labels["app.kubernetes.io/version"] == f"0.1.0-{'a' * 56}"


def test_the_values_reach_the_operator() -> None:
    args = operator_args(
        "image.repository=registry.local/tomoul", "image.tag=v7", "envoy.image=registry.local/envoy:v2",
        "gateway.replicas=3", "gateway.serviceType=NodePort", "hostRegions={eu-west,us-east}", "resyncSeconds=60",
        "engines.llamaCpp.image=registry.local/cpu-engine:v7", "imagePullSecrets={registry,mirror}",
        "metrics.scrapeNamespaces={monitoring,audit}",
    )  # fmt: skip
    assert set(args) >= {
        "--operator-image=registry.local/tomoul:v7",
        "--envoy-image=registry.local/envoy:v2",
        "--gateway-replicas=3",
        "--gateway-service-type=NodePort",
        "--host-regions=eu-west,us-east",
        "--resync-seconds=60",
        "--llama-cpp-image=registry.local/cpu-engine:v7",
        "--image-pull-secrets=registry,mirror",
        "--scrape-namespaces=monitoring,audit",
    }


def test_a_digest_goes_before_the_tag_in_every_pod_that_runs_the_operators_image() -> None:
    digest = f"sha256:{'7d1a' * 16}"
    values = ("image.repository=registry.local/tomoul", "image.tag=v7", f"image.digest={digest}")
    pod = one(render(*values), "Deployment", "tomoul-operator")["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == [f"registry.local/tomoul@{digest}"]
    assert f"--operator-image=registry.local/tomoul@{digest}" in pod["containers"][0]["args"]


def test_pull_secrets_are_the_operator_pods_own_too() -> None:
    pod = one(render("imagePullSecrets={registry,mirror}"), "Deployment", "tomoul-operator")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]
    assert "imagePullSecrets" not in one(render(), "Deployment", "tomoul-operator")["spec"]["template"]["spec"]


@pytest.mark.parametrize("value", ["commonLabels", "operator.podLabels", "gateway.podLabels"])
@pytest.mark.parametrize("label", ["app.kubernetes.io/name", "helm.sh/chart", "tomoul.ai/region"])
def test_labels_by_which_something_is_selected_are_refused_with_their_value(value: str, label: str) -> None:
    escaped = label.replace(".", "\\.")
    with pytest.raises(HelmError, match=f"{value}: `{label}` means something to Kubernetes, Helm or Tomoul"):
        render(f"{value}.{escaped}=mine")


def test_who_misspells_a_value_is_told_those_that_there_are() -> None:
    """JSON Schema has no words for it: where no value exists, none fits but a text that names those that do."""

    def maps(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict) and "properties" in node and node.get("type") == "object":
            yield node
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from maps(child)

    schema = json.loads((CHART / "values.schema.json").read_text())
    for name in ("global", "enabled"):
        assert "not read" in schema["properties"].pop(name)["description"]
    found = list(maps(schema))
    assert len(found) > 15
    for node in found:
        names = ", ".join(node["properties"])
        assert node["additionalProperties"] == {"const": f"left out: there are only {names}"}


def test_a_parent_chart_may_have_a_condition_and_globals() -> None:
    assert render("enabled=true", "global.registry=registry.example.com") == render()


@pytest.mark.parametrize("name", ["app.kubernetes.io/name", "tomoul.ai/region", "pod-template-hash", "team"])
@pytest.mark.parametrize("value", ["propagate.labels", "propagate.annotations"])
def test_what_the_operator_would_not_start_with_is_refused_before_it_is_tried(value: str, name: str) -> None:
    if not reserved(name):
        assert render(f"{value}={{{name}}}")
        return
    with pytest.raises(HelmError, match=f"{value}: `{name}` means something to Kubernetes or Tomoul"):
        render(f"{value}={{{name}}}")


@pytest.mark.parametrize("memory", ["16Mi", "255Mi", "200M", "262143Ki", "268435455"])
def test_too_little_memory_for_envoy_is_refused_before_an_operator_ends_of_it(memory: str) -> None:
    with pytest.raises(HelmError, match=f"gateway.resources.envoy.limits.memory: {memory}: must be 256Mi or more"):
        render(f"gateway.resources.envoy.limits.memory={memory}")


@pytest.mark.parametrize("memory", ["256Mi", "1Gi", "269M", "262144Ki", "268435456"])
def test_enough_memory_for_envoy_is_taken(memory: str) -> None:
    (flag,) = [arg for arg in operator_args(f"gateway.resources.envoy.limits.memory={memory}") if "overlay" in arg]
    assert read_overlay(flag.partition("=")[2]).resources.max_heap_bytes > 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            ("gateway.service.externalTrafficPolicy=Local",),
            "needs gateway.serviceType NodePort or LoadBalancer",
        ),
        (("gateway.service.loadBalancerClass=a", "gateway.serviceType=NodePort"), "LoadBalancer, not NodePort"),
        (("gateway.service.loadBalancerSourceRanges={10.0.0.0/8}",), "LoadBalancer, not ClusterIP"),
    ],
)
def test_fields_that_a_type_of_service_has_no_use_for_are_refused_with_the_type_that_has(
    values: tuple[str, ...], words: str
) -> None:
    with pytest.raises(HelmError, match=words):
        render(*values)


def test_every_value_is_on_the_page_about_installing() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    names = [name for name, _ in leaves(default_values())]
    assert "engines.llamaCpp.image" in names
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_value_has_another_one_to_be_tried_with() -> None:
    defaults, others = dict(leaves(default_values())), dict(leaves(OTHER))
    assert others.keys() == defaults.keys()
    assert [name for name, value in defaults.items() if others[name] == value] == []


def test_an_operator_that_is_told_no_regions_hosts_them_all() -> None:
    assert not [arg for arg in operator_args() if arg.startswith("--host-regions")]


def test_names_that_are_numbers_stay_names() -> None:
    numbers = ("--kube-version", "1.34.0", "--namespace", "4711", "--set-string", "workloadNamespaces={4712}")
    optional = ("--set", "scaling.externalMetrics=true", "--set", "metrics.alerts.enabled=true")
    found = list(yaml.safe_load_all(helm("template", "4710", str(CHART), *numbers, *optional)))
    assert {type(each) for each in _values(found, "namespace")} == {str}
    assert {type(each) for each in _values(found, "app.kubernetes.io/instance")} == {str}


def test_an_operator_that_is_not_ready_keeps_no_node_from_being_drained() -> None:
    budget = one(render(), "PodDisruptionBudget", "tomoul-operator")["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["maxUnavailable"] == 1


def _values(tree: Any, key: str) -> Iterator[Any]:
    """What stands under `key` anywhere, where that is no object."""
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    if isinstance(tree, dict) and not isinstance(tree.get(key, {}), dict):
        yield tree[key]
    for child in children:
        yield from _values(child, key)
