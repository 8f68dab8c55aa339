"""Multi-node: where a replica may be several pods, and what LeaderWorkerSet calls things.

https://github.com/kubernetes-sigs/lws makes groups of pods, each a leader and its workers, and a group as a whole is
started, replaced and scaled. It is used where it is installed; nothing else needs it.
"""

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.plan.engines.base import Refusal
from tomoul.plan.engines.registry import ENGINES, engine_of
from tomoul.plan.world import Facts

LWS_API_VERSION = "leaderworkerset.x-k8s.io/v1"
LWS_API = "v1.leaderworkerset.x-k8s.io"
"""Name of its APIService."""
LABEL_WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
"""On each pod of a group, 0 for the leader."""
ANNOTATION_RECREATE_AFTER_START = "leaderworkerset.sigs.k8s.io/experimental-recreate-group-after-start"
"""From LeaderWorkerSet 0.8 on: while a pod of a group still brings its weights, others' restarts do not end it."""
_NODES = "spec.resources.nodes"


def is_multinode(spec: ModelDeploymentSpec) -> bool:
    """Whether a replica is several pods."""
    return spec.resources.nodes > 1


def engine_refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """Why the engine cannot run on as many nodes as the spec says, or None."""
    if not is_multinode(spec) or engine_of(spec).group_arguments is not None:
        return None
    others = " and ".join(name for name, engine in ENGINES.items() if engine.group_arguments is not None)
    message = f"must be 1: {spec.engine.type} runs in one pod; {others} can run in several"
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, _NODES, message)


def missing_refusal(spec: ModelDeploymentSpec, facts: Facts) -> Refusal | None:
    """Why this cluster cannot run a replica of several pods, or None. Plans offline know no cluster."""
    if not is_multinode(spec) or not facts.apis or LWS_API in facts.apis:
        return None
    message = (
        f"{spec.resources.nodes} pods for each replica need LeaderWorkerSet ({LWS_API_VERSION}), which this cluster "
        "does not have: install it (https://lws.sigs.k8s.io), or let a replica be one pod"
    )
    return Refusal(Reason.LEADER_WORKER_SET_MISSING, _NODES, message)
