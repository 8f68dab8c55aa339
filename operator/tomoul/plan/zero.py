"""Zero: what it means for a model that the pool of most of its calls has no replicas."""

from collections.abc import Mapping

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import PoolName
from tomoul.plan.judge import SCALED_TO_ZERO, Rollout, Verdict
from tomoul.plan.scaling import may_be_empty, sleeps_on
from tomoul.plan.world import Key, World


def with_zero(
    world: World, model: ModelDeployment, region: str, rollouts: Mapping[PoolName, Rollout], verdict: Verdict
) -> Verdict:
    """`verdict` on a model's pools, unless the pool `default` is to have no replicas and nothing is amiss with others.

    It is empty by right where the next call starts a replica, and nowhere else: the pool for `no-store` answers no
    other calls.
    """
    default = rollouts.get("default")
    if default is None or default.wanted or (verdict.status != "True" and verdict.reason is not Reason.SCALED_TO_ZERO):
        return verdict
    if not may_be_empty(model.spec, region, "default"):
        return SCALED_TO_ZERO
    if why := sleeps_on(world, Key(model.metadata.namespace, default.name), region):
        words = f"`{default.name}` has no replicas, and no call starts one: {why}"
        return Verdict("False", Reason.METRICS_UNAVAILABLE, words)
    if verdict.status == "True":
        return verdict
    return Verdict("True", Reason.SCALED_TO_ZERO, "Nobody calls: the next call is refused and starts a replica")
