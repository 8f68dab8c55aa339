"""The operator's pods: what a platform team's clusters ask of every pod."""

from typing import Any

from tests.chart.helm import Object, operator_pod, render

OWN = {"matchLabels": {"app.kubernetes.io/name": "tomoul", "app.kubernetes.io/component": "operator"}}
PLACED: Object = {
    "commonLabels": {"team": "inference", "tier": "common"},
    "operator": {
        "podLabels": {"tier": "control"},
        "podAnnotations": {"example.com/owner": "platform"},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
        "env": [{"name": "TZ", "value": "Europe/Zurich"}],
    },
}


def test_the_operators_pods_are_placed_and_labelled_as_the_values_say() -> None:
    template = operator_pod(tree=PLACED)
    labels, pod = template["metadata"]["labels"], template["spec"]
    assert (labels["team"], labels["tier"]) == ("inference", "control")
    assert OWN["matchLabels"].items() <= labels.items()
    assert template["metadata"]["annotations"] == {"example.com/owner": "platform"}
    wanted = PLACED["operator"]
    for field in ("nodeSelector", "tolerations", "priorityClassName"):
        assert pod[field] == wanted[field]
    assert wanted["env"][0] in pod["containers"][0]["env"]
    assert [variable["name"] for variable in pod["containers"][0]["env"][:3]] == ["POD_NAME", "POD_NAMESPACE", "POD_IP"]


def test_nothing_is_said_of_what_the_values_leave_out() -> None:
    template = operator_pod()
    assert "annotations" not in template["metadata"]
    assert {"nodeSelector", "tolerations", "priorityClassName"}.isdisjoint(template["spec"])


def test_labels_for_all_objects_are_on_all_but_the_definitions_and_select_nothing() -> None:
    optional = ("scaling.externalMetrics=true", "metrics.dashboards.enabled=true", "metrics.alerts.enabled=true")
    for found in render(*optional, tree=PLACED):
        if found["kind"] != "CustomResourceDefinition":
            assert found["metadata"]["labels"]["team"] == "inference", found["kind"]
            assert "team" not in str(found.get("spec", {}).get("selector"))


def test_terms_and_constraints_that_select_no_pods_mean_the_operators_own() -> None:
    others = {"matchLabels": {"noisy": "true"}}
    spread = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    tree = {
        "operator": {
            "topologySpreadConstraints": [spread, {**spread, "labelSelector": others}],
            "affinity": {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "kubernetes.io/hostname"},
                        {"topologyKey": "kubernetes.io/hostname", "labelSelector": others},
                    ]
                }
            },
        }
    }
    pod = operator_pod(tree=tree)["spec"]
    assert selectors(pod["topologySpreadConstraints"]) == [OWN, others]
    terms = pod["affinity"]["podAntiAffinity"]
    assert selectors(terms["requiredDuringSchedulingIgnoredDuringExecution"]) == [OWN, others]
    (zones,) = terms["preferredDuringSchedulingIgnoredDuringExecution"]
    assert zones["podAffinityTerm"] == {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": OWN}


def test_spread_and_affinity_can_be_taken_away() -> None:
    pod = operator_pod("operator.affinity=null", tree={"operator": {"topologySpreadConstraints": []}})["spec"]
    assert {"affinity", "topologySpreadConstraints"}.isdisjoint(pod)


def selectors(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry["labelSelector"] for entry in entries]
