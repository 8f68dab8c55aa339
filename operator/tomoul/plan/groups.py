"""Groups: what the replicas of a pool are made from, which may be several pods on several nodes.

Of a group only the leader serves: its workers have another component label, so that no Service, and no rule for what
calls reach, has them. All else is alike: image, volumes, loaders, placement, and what their labels say of the cache.
"""

from collections.abc import Mapping
from typing import Any

from tomoul.api.meta import COMPONENT_WORKER, LABEL_COMPONENT
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.region import Region
from tomoul.api.routingtable import PoolName
from tomoul.plan.draining import follow_command
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.multinode import ANNOTATION_RECREATE_AFTER_START, LWS_API_VERSION, is_multinode
from tomoul.plan.pods import engine_pod
from tomoul.plan.revision import stamped
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest

_SERVING = ("ports", "startupProbe", "readinessProbe", "livenessProbe")
"""What of a container is about calls."""


def pool_template(model: ModelDeployment, region: Region, pool: PoolName, settings: Settings) -> Manifest:
    """What a pool's replicas are made from, with its revision: the template of a pod, or of a group of pods."""
    pod, spec = engine_pod(model, region, pool, settings), model.spec
    if not is_multinode(spec):
        return stamped(pod)
    return stamped(
        {
            "size": spec.resources.nodes,
            # One that ends alone would leave the others waiting for it.
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": _joined(pod, spec, worker=False),
            "workerTemplate": _as_worker(_joined(pod, spec, worker=True), spec),
        }
    )


def group_set(meta: dict[str, Any], template: Manifest, limits: Mapping[str, int]) -> dict[str, Any]:
    """The LeaderWorkerSet of a pool, without `replicas`; `limits` are its rolling update's."""
    annotations = {**meta.get("annotations", {}), ANNOTATION_RECREATE_AFTER_START: "true"}
    return {
        "apiVersion": LWS_API_VERSION,
        "kind": "LeaderWorkerSet",
        "metadata": {**meta, "annotations": annotations},
        "spec": {
            "leaderWorkerTemplate": template,
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": dict(limits)},
            # A leader is ready only once its workers have joined it.
            "startupPolicy": "LeaderCreated",
            "networkConfig": {"subdomainPolicy": "Shared"},
        },
    }


def _joined(pod: Manifest, spec: ModelDeploymentSpec, *, worker: bool) -> dict[str, Any]:
    joining = engine_of(spec).group_arguments
    assert joining is not None, "an engine that runs in one pod is refused"
    (container,) = pod["spec"]["containers"]
    return _with_container(pod, {**container, "args": [*container["args"], *joining(spec, worker=worker)]})


def _as_worker(pod: Manifest, spec: ModelDeploymentSpec) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    plain = {name: value for name, value in container.items() if name not in _SERVING}
    hook = {"preStop": {"exec": {"command": follow_command(spec.rollout.drain_seconds)}}}
    made = _with_container(pod, {**plain, "lifecycle": hook})
    labels = {**pod["metadata"]["labels"], LABEL_COMPONENT: COMPONENT_WORKER}
    return {**made, "metadata": {**pod["metadata"], "labels": labels}}


def _with_container(pod: Manifest, container: dict[str, Any]) -> dict[str, Any]:
    return {**pod, "spec": {**pod["spec"], "containers": [container]}}
