"""Answering: whether a model's weights are there and an engine has really answered a call."""

from collections.abc import Collection, Sequence

from tomoul.api.conditions import Reason
from tomoul.plan.judge import SCALED_TO_ZERO, Rollout, Verdict, failing
from tomoul.plan.world import ContainerFact, PodFact


def answering(rollouts: Sequence[Rollout], lost_nodes: Collection[str] = ()) -> Verdict:
    """Whether each pool that is to serve has a pod, of whatever revision, whose engine has answered its first call."""
    wanted = [rollout for rollout in rollouts if rollout.wanted > 0]
    if not wanted:
        return SCALED_TO_ZERO
    silent = [rollout for rollout in wanted if not any(pod.answered for pod in rollout.living)]
    if not silent:
        return Verdict("True", Reason.ENGINE_ANSWERED)
    failed = failing(silent, lost_nodes)
    if failed is not None:
        return failed
    doing = [_doing(pod) for rollout in silent for pod in rollout.living if pod.scheduled]
    words = "; ".join([f"No engine of `{rollout.name}` has answered a call yet" for rollout in silent] + doing)
    return Verdict("False", Reason.MODEL_LOADING, words)


def _doing(pod: PodFact) -> str:
    container = next((each for each in pod.containers if not each.ready and not _is_done(each)), None)
    if container is None or container.running_since is None:
        return f"pod `{pod.name}` waits for its volumes and images"
    since = container.running_since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"pod `{pod.name}` runs `{container.name}` since {since}"


def _is_done(container: ContainerFact) -> bool:
    return container.init and (container.started or container.ended is not None)
