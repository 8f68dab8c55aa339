import json
from datetime import UTC, datetime
from typing import Any

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.controller.children import child, parsed_fields
from tomoul.controller.declared import conditions_of, declared, spec_of
from tomoul.controller.facts import node
from tomoul.controller.pods import pod
from tomoul.controller.tables import RoutingTableReader
from tomoul.controller.workloads import autoscaler, deployment, leader_worker_set
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import ContainerFact, Termination
from tomoul.plan.world import DeploymentFact, Key, NodeFact, Taint

TIME = "2026-01-01T00:00:00Z"


def pod_object(**changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "metadata": {
            "name": "chat-eu-abc-6b686c546-7s9xt",
            "namespace": "models",
            "labels": {
                "app.kubernetes.io/component": "engine",
                "tomoul.ai/model-deployment": "chat",
                "tomoul.ai/region": "eu",
                "pod-template-hash": "6b686c546",
            },
            "ownerReferences": [{"kind": "ReplicaSet", "name": "chat-eu-abc-6b686c546", "controller": True}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "engine", "resources": {"requests": {"nvidia.com/gpu": "2", "cpu": "1"}}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    item["status"].update(changes)
    return item


def test_a_pod_belongs_to_the_deployment_of_its_replicaset_and_to_its_model() -> None:
    found = pod(pod_object())
    assert found.deployment == Key("models", "chat-eu-abc")
    assert (found.parent.model, found.parent.region) == (Key("models", "chat"), "eu")
    assert found.fact.ready
    assert found.fact.scheduled
    assert found.fact.requests == {"nvidia.com/gpu": 2, "cpu": 1000}


def test_a_pod_says_by_its_label_what_its_engine_does_with_prompts_and_an_older_one_says_nothing() -> None:
    item = pod_object()
    assert pod(item).fact.prompt_cache == ""
    item["metadata"]["labels"] |= {"tomoul.ai/prompt-cache": "salted"}
    assert pod(item).fact.prompt_cache == "salted"
    assert pod(item).fact.adapters == ""
    item["metadata"]["annotations"] = {"tomoul.ai/adapters": '{"acme/legal":{}}'}
    assert pod(item).fact.adapters == '{"acme/legal":{}}'


def test_a_gateways_pod_belongs_to_its_region() -> None:
    item = pod_object()
    item["metadata"]["labels"] = {"app.kubernetes.io/component": "gateway", "tomoul.ai/region": "eu"}
    assert pod(item).parent.model is None
    assert pod(item).parent.region == "eu"


def test_the_scheduler_is_heard() -> None:
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    assert pod(pod_object(conditions=[refused])).fact.unschedulable == "0/2 nodes"


def test_a_pod_that_the_scheduler_must_not_look_at_yet_names_its_gates() -> None:
    item = pod_object()
    assert pod(item).fact.gates == ()
    item["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    assert pod(item).fact.gates == ("kueue.x-k8s.io/admission",)


def test_a_container_tells_what_it_waits_for_and_how_it_ended_last() -> None:
    starting = {"name": "agent", "state": {"waiting": {"reason": "ContainerCreating"}}}
    ended = {"exitCode": 1, "reason": "Error", "message": "loading\nRuntimeError: no kernel image\nbye\n"}
    crashed = {
        "name": "engine",
        "ready": False,
        "started": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}},
        "lastState": {"terminated": ended},
    }
    fact = pod(pod_object(conditions=[], initContainerStatuses=[starting], containerStatuses=[crashed])).fact
    assert fact.containers == (
        ContainerFact("agent", init=True, waiting="ContainerCreating"),
        ContainerFact(
            "engine", waiting="CrashLoopBackOff", ended=Termination(1, "Error", "RuntimeError: no kernel image")
        ),
    )
    assert not fact.answered


def test_a_pull_that_fails_and_one_that_waits_to_be_tried_again_have_the_same_words() -> None:
    words = "failed to resolve reference: not found"

    def message(reason: str, text: str) -> str:
        status = {"name": "engine", "state": {"waiting": {"reason": reason, "message": text}}}
        return pod(pod_object(containerStatuses=[status])).fact.containers[0].waiting_message

    assert message("ErrImagePull", words) == words
    assert message("ImagePullBackOff", f'Back-off pulling image "a:1": ErrImagePull: {words}') == words


def test_an_engine_has_answered_once_its_startup_probe_has_passed_though_it_may_not_be_ready_now() -> None:
    running = {"name": "engine", "ready": False, "started": True, "state": {"running": {"startedAt": TIME}}}
    fact = pod(pod_object(conditions=[], containerStatuses=[running])).fact
    assert fact.answered
    assert fact.containers[0].running_since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_pod_that_its_node_gave_up_tells_when_and_why() -> None:
    found = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": TIME}
    evicted = pod_object(phase="Failed", reason="Evicted", message="The node was low on memory.", conditions=[found])
    fact = pod(evicted).fact
    assert (fact.failed_reason, fact.failed_message) == ("Evicted", "The node was low on memory.")
    assert fact.failed_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_node_counts_its_devices_and_is_not_ready_while_it_is_cordoned() -> None:
    item: dict[str, Any] = {
        "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": "8", "hugepages-2Mi": "0"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    assert node(item) == NodeFact("n1", {"zone": "a"}, True, {"cpu": 4000, "memory": 2**30, "nvidia.com/gpu": 8})
    item["spec"]["unschedulable"] = True
    assert not node(item).ready
    assert node(item).reachable
    item["status"]["conditions"][0]["status"] = "Unknown"
    assert not node(item).reachable


def test_what_a_pod_requests_is_what_its_containers_and_its_sidecars_request_together() -> None:
    item = pod_object()
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}
    item["spec"]["initContainers"] = [sidecar, {"name": "once", "resources": {"requests": {"cpu": "8"}}}]
    assert pod(item).fact.requests == {"nvidia.com/gpu": 2, "cpu": 1250, "memory": 64 * 2**20}


def test_a_nodes_taints_are_kept() -> None:
    taints = [{"key": "gpu", "value": "present", "effect": "NoSchedule"}, {"key": "old", "effect": "NoExecute"}]
    item: dict[str, Any] = {"metadata": {"name": "n1"}, "spec": {"taints": taints}}
    assert node(item).taints == (Taint("gpu", "present", "NoSchedule"), Taint("old", "", "NoExecute"))


def test_a_heartbeat_of_a_node_changes_nothing_that_is_kept() -> None:
    item: dict[str, Any] = {"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    before = node(item)
    item["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z"
    assert node(item) == before


def test_a_deadline_that_a_former_revision_has_missed_is_none_of_the_new_ones() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    item = {"metadata": {"uid": "u", "generation": 3}, "spec": {"template": {}}}
    told = {generation: {"observedGeneration": generation, "conditions": [late]} for generation in (2, 3)}
    assert not deployment({**item, "status": told[2]}).fact.overdue
    assert deployment({**item, "status": told[3]}).fact.overdue


def test_a_deployments_figures_are_zero_where_the_api_server_leaves_them_out() -> None:
    spec: dict[str, Any] = {"replicas": 3, "template": {}}
    item = {"metadata": {"uid": "u", "generation": 2}, "spec": spec, "status": {"readyReplicas": 1}}
    assert deployment(item).fact == DeploymentFact(generation=2, replicas=3, ready=1)


def test_a_deployment_tells_of_its_rollout_and_what_of_its_template_is_ours() -> None:
    container = {"name": "engine", "image": "i:1", "args": ["--a", "1"], "resources": {"limits": {"cpu": "1"}}}
    sidecar = {"name": "mesh", "image": "proxy"}
    item = {
        "metadata": {
            "uid": "u",
            "generation": 2,
            "managedFields": [
                {
                    "manager": "tomoul-operator",
                    "operation": "Apply",
                    "fieldsV1": {
                        "f:spec": {
                            "f:template": {
                                "f:metadata": {"f:labels": {"f:tomoul.ai/revision": {}}},
                                "f:spec": {
                                    "f:containers": {
                                        'k:{"name":"engine"}': {".": {}, "f:name": {}, "f:image": {}, "f:args": {}}
                                    },
                                    "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
                                },
                            }
                        }
                    },
                }
            ],
        },
        "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"tomoul.ai/revision": "abc", "mesh": "on"}},
                "spec": {
                    "containers": [container, sidecar],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "restartPolicy": "Always",
                },
            },
        },
        "status": {
            "observedGeneration": 2,
            "replicas": 3,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
        },
    }
    fact = deployment(item).fact
    assert (fact.revision, fact.surge, fact.overdue, fact.total) == ("abc", True, True, 3)
    assert not fact.paused
    assert deployment({**item, "spec": {**item["spec"], "paused": True}}).fact.paused
    assert json.loads(fact.template) == {
        "metadata": {"labels": {"tomoul.ai/revision": "abc"}},
        "spec": {
            "containers": [{"name": "engine", "image": "i:1", "args": ["--a", "1"]}],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def test_a_childs_owner_is_the_one_that_controls_it() -> None:
    owners = [{"uid": "other"}, {"uid": "owner", "controller": True}]
    assert child({"metadata": {"uid": "u", "ownerReferences": owners}}).owner_uid == "owner"


def test_a_table_that_cannot_be_read_counts_as_not_read() -> None:
    assert RoutingTableReader()({"metadata": {"uid": "u", "name": "eu"}, "spec": {"nonsense": 1}}).fact is None


def test_an_invalid_resource_keeps_its_errors_and_its_status_causes_no_work() -> None:
    item: dict[str, Any] = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "x", "namespace": "y", "uid": "u", "generation": 4},
        "spec": {"engine": {"type": "Steam"}},
    }
    found = declared(item, ModelDeployment)
    assert found.resource is None
    assert "spec.engine.type" in found.errors
    item["status"] = {"conditions": [{"type": "Accepted", "status": "False", "reason": "InvalidSpec"}]}
    later = declared(item, ModelDeployment)
    assert conditions_of(later.status)[0].reason == "InvalidSpec"
    assert spec_of(later) == spec_of(found)


def test_fields_of_a_newer_version_are_ignored_in_what_the_api_server_returns() -> None:
    toleration = {"key": "gpu", "operator": "Exists", "newest": [1]}
    item: dict[str, Any] = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "Region",
        "metadata": {"name": "eu-west", "uid": "u"},
        "spec": {"displayName": "West", "newer": {"a": 1}, "placement": {"new": True, "tolerations": [toleration]}},
    }
    region = declared(item, Region).resource
    assert region is not None
    assert region.spec.display_name == "West"
    assert region.spec.placement.tolerations[0].key == "gpu"
    table = {"metadata": {"uid": "u", "name": "eu"}, "spec": {"region": "eu", "newer": 1}}
    assert RoutingTableReader()(table).fact is not None


def test_fields_of_children_that_differ_in_their_owner_only_are_kept_once() -> None:
    def service(uid: str) -> dict[str, Any]:
        references = {f'k:{{"uid":"{uid}"}}': {}}
        entry = {
            "manager": "tomoul-operator",
            "operation": "Apply",
            "fieldsV1": {"f:metadata": {"f:ownerReferences": references}},
        }
        owners = [{"uid": uid, "controller": True}]
        return {"metadata": {"uid": "u", "ownerReferences": owners, "managedFields": [entry]}}

    first, second = child(service("one")), child(service("two"))
    assert first.fields is second.fields
    assert parsed_fields(second) == {"f:metadata": {"f:ownerReferences": {'k:{"uid":"two"}': {}}}}


def group_pod(index: str, component: str) -> dict[str, Any]:
    item = pod_object()
    labels = {
        "app.kubernetes.io/component": component,
        "tomoul.ai/pool": "default",
        "leaderworkerset.sigs.k8s.io/worker-index": index,
    }
    item["metadata"]["labels"] |= labels
    item["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "chat-eu-xyz-0", "controller": True}]
    return item


def test_the_pods_of_a_group_belong_to_their_pool_and_only_the_first_serves() -> None:
    leader, worker = pod(group_pod("0", "engine")), pod(group_pod("1", "engine-worker"))
    assert leader.deployment == worker.deployment == Key("models", pool_name("chat", "eu", "default"))
    assert (leader.fact.group_index, worker.fact.group_index) == (0, 1)
    assert (leader.fact.is_worker, worker.fact.is_worker, pod(pod_object()).fact.is_worker) == (False, True, False)


def set_object(**status: Any) -> dict[str, Any]:
    labels = {"tomoul.ai/model-deployment": "chat", "tomoul.ai/region": "eu", "tomoul.ai/pool": "default"}
    pods = {"metadata": {"labels": {"tomoul.ai/revision": "abc"}}, "spec": {"containers": []}}
    limits = {"maxSurge": 1, "maxUnavailable": 0}
    return {
        "metadata": {"name": "chat-eu-xyz", "namespace": "models", "uid": "u", "generation": 3, "labels": labels},
        "spec": {
            "replicas": 2,
            "leaderWorkerTemplate": {"size": 4, "leaderTemplate": pods, "workerTemplate": pods},
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": limits},
        },
        "status": status,
    }


def test_a_leaderworkerset_is_read_as_the_deployment_that_its_pool_would_have_and_counts_groups() -> None:
    counts = {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "observedGeneration": 2}
    found = leader_worker_set(set_object(**counts))
    assert found.pool == pool_name("chat", "eu", "default")
    assert found.fact == DeploymentFact(
        generation=3, observed_generation=2, replicas=2, updated=1, ready=2, total=3, revision="abc",
        surge=True, size=4,
    )  # fmt: skip


def test_a_leaderworkerset_of_a_version_that_tells_no_observed_generation_counts_as_looked_at() -> None:
    assert leader_worker_set(set_object(readyReplicas=1)).fact.observed_generation == 3


def test_an_autoscaler_that_cannot_change_the_scale_is_not_active_whatever_figures_it_has() -> None:
    active = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}
    stuck = {
        "type": "AbleToScale",
        "status": "False",
        "reason": "FailedGetScale",
        "message": "deployments is forbidden",
    }
    item = {"kind": "HorizontalPodAutoscaler", "metadata": {"uid": "u"}, "status": {"conditions": [active, stuck]}}
    fact = autoscaler(item).fact
    assert (fact.active, fact.message) == ("False", "deployments is forbidden")
    item["status"] = {"conditions": [active, {**stuck, "status": "True"}]}
    assert autoscaler(item).fact.active == "True"
