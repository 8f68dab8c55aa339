"""What the API server refuses the operator."""

from collections.abc import Callable

from tests.controlplane.api import ApiError, eventually
from tests.integration.cluster import REGIONS, Cluster, Object, model
from tests.integration.operators import condition, path


def put_quota(cluster: Cluster, namespace: str, name: str, hard: Object) -> str:
    """The path of the ResourceQuota."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/{name}"
    metadata = {"name": name}
    cluster.api.apply(path, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    return path


def test_a_quota_that_refuses_a_workload_is_told_as_that_and_not_as_a_mistake_in_the_spec(
    examples: Cluster, namespace: str
) -> None:
    quota = put_quota(examples, namespace, "none", {"count/deployments.apps": "0"})
    examples.apply(model("refused", namespace))

    def told_so() -> Object:
        item = examples.model("refused", namespace)
        assert condition(item, "WorkloadReady", "eu-west")["reason"] == "ApplyRefused"
        return item

    item = eventually(told_so)
    assert condition(item, "Accepted")["status"] == "True"
    assert (item["status"]["reason"], item["status"]["readyRegions"]) == ("ApplyRefused", "0/2")
    assert "quota" in condition(item, "Ready", "us-east")["message"]
    examples.api.delete(quota)
    eventually(lambda: len(examples.of("refused", namespace)) == 10, 60)


def test_a_quota_that_refuses_pods_is_told_in_its_words(examples: Cluster, namespace: str) -> None:
    quota = put_quota(examples, namespace, "memory", {"requests.memory": "512Mi"})
    eventually(lambda: "hard" in examples.api.get(quota)["status"])
    examples.apply(model("short", namespace, regions=[{"name": "eu-west", "replicas": 3}]))

    def told_so() -> None:
        item = examples.model("short", namespace)
        for kind in ("Scheduled", "WorkloadReady"):
            told = condition(item, kind, "eu-west")
            assert told["reason"] == "PodsRefused"
            assert (
                "are not made: forbidden: exceeded quota: memory, requested: requests.memory=256Mi" in told["message"]
            )
        events = examples.api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
        assert ("Warning", "PodsRefused") in {(event["type"], event["reason"]) for event in events}

    eventually(lambda: [told_so()])


def refused(ask: Callable[[], object]) -> bool:
    """Whether the API server refuses it by now."""
    try:
        ask()
    except ApiError:
        return True
    return False


def test_an_admission_webhook_that_is_away_is_told_and_holds_up_only_what_it_is_asked_about(
    examples: Cluster, namespace: str
) -> None:
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/away"
    webhook = {
        "name": "away.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"service": {"name": "policies", "namespace": namespace}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
        ],
    }
    configuration = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    examples.api.apply(hooks, {**configuration, "metadata": {"name": "away"}, "webhooks": [webhook]})
    labels = {"app": "probe"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.com/c"}]}}
    probe = {"metadata": {"name": "probe"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    try:
        eventually(lambda: refused(lambda: examples.api.create(deployments, probe, dryRun="All")))
        examples.apply(model("waiting", namespace))

        def waits() -> None:
            item = examples.model("waiting", namespace)
            for region in REGIONS:
                refused = condition(item, "WorkloadReady", region)
                assert refused["reason"] == "ApplyRefused", refused
                assert "away.example.com" in refused["message"]
            assert len(examples.of("waiting", namespace)) == 8, "all but the Deployments"

        eventually(lambda: [waits()])
    finally:
        examples.api.delete(hooks)
    eventually(lambda: len(examples.of("waiting", namespace)) == 10, 60)


def test_an_admission_policy_that_keeps_an_object_holds_up_neither_what_else_goes_nor_the_status(
    examples: Cluster, namespace: str
) -> None:
    registration = "admissionregistration.k8s.io/v1"
    kinds = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    policies, bindings = (f"/apis/{registration}/{kind}/kept" for kind in kinds)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["services"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "Services stay"}],
    }
    binding = {"policyName": "kept", "validationActions": ["Deny"]}
    both = (policies, "ValidatingAdmissionPolicy", policy), (bindings, "ValidatingAdmissionPolicyBinding", binding)
    examples.apply(model("leaving", namespace))
    eventually(lambda: len(examples.of("leaving", namespace)) == 10)
    for where, kind, spec in both:
        examples.api.apply(
            where, {"apiVersion": registration, "kind": kind, "metadata": {"name": "kept"}, "spec": spec}
        )
    service = path("Service", examples.of("leaving", namespace, "Service")[0]["metadata"]["name"], namespace)
    try:
        eventually(lambda: refused(lambda: examples.api.delete(service, {"dryRun": ["All"]})))
        regions = [{"name": "us-east", "replicas": 1}]
        wanted = examples.apply(model("leaving", namespace, regions=regions))["metadata"]["generation"]

        def left() -> None:
            there = examples.of("leaving", namespace)
            found = [item["kind"] for item in there if item["metadata"]["labels"]["tomoul.ai/region"] == "eu-west"]
            assert found == ["Service"]
            assert examples.model("leaving", namespace)["status"]["observedGeneration"] == wanted

        eventually(lambda: [left()])
    finally:
        for where, _, _ in reversed(both):
            examples.api.delete(where)
    eventually(lambda: len(examples.of("leaving", namespace)) == 5, 60)
