"""Answering: whether a model's weights are there and an engine has really answered a call."""

from collections.abc import Collection, Sequence

from tomoul.api.conditions import Reason
from tomoul.plan.judge import SCALED_TO_ZERO, Rollout, Verdict, failing, starting


def answering(rollouts: Sequence[Rollout], lost_nodes: Collection[str] = ()) -> Verdict:
    """Whether each pool that is to serve has a pod, of whatever revision, whose engine has answered its first call.

    Of what runs on a node that is lost nobody knows.
    """
    wanted = [rollout for rollout in rollouts if rollout.wanted > 0]
    if not wanted:
        return SCALED_TO_ZERO
    silent = [
        rollout
        for rollout in wanted
        if not any(pod.answered and (pod.ready or pod.node not in lost_nodes) for pod in rollout.serving)
    ]
    if not silent:
        return Verdict("True", Reason.ENGINE_ANSWERED)
    failed = failing(silent, lost_nodes)
    if failed is not None:
        return failed
    names = ", ".join(f"`{rollout.name}`" for rollout in silent)
    doing = starting(silent)
    if not doing:
        return Verdict("False", Reason.WAITING_FOR_PODS, f"No pod of {names} has a node yet")
    words = "; ".join([f"No engine of {names} has answered a call yet", *doing])
    return Verdict("False", Reason.MODEL_LOADING, words)
