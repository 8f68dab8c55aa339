"""Activation: between no replica and one. A HorizontalPodAutoscaler does the rest; KEDA does all of it itself.

What keeps a pool from going up and down: a refused call asks for a replica for a minute, a replica that starts is
waited for however long that takes, and one that is ready stays for `scaleDownSeconds` without a call.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from tomoul.controller.children import SCALE_MANAGER, Child
from tomoul.controller.context import Context
from tomoul.controller.scaling.sampler import SAMPLE_SECONDS, Sampler
from tomoul.kube.errors import KubeError
from tomoul.kube.resources import DEPLOYMENTS, LEADER_WORKER_SETS
from tomoul.plan.scaling import ScaledPool, has_keda
from tomoul.plan.world import DeploymentFact, Key

logger = logging.getLogger(__name__)


class IdleTimes:
    """Since when each pool has had no call."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: dict[Key, float] = {}

    def wanted(self, pool: ScaledPool, fact: DeploymentFact, calls: int | None) -> int:
        """Replicas that the pool should have, of which `calls` are in flight; None where nobody knows.

        Only no replica becomes one here, or one none.
        """
        if pool.scaling.min_replicas > 0:
            return max(fact.replicas, 1)  # a HorizontalPodAutoscaler does nothing where there is none
        if calls != 0 or fact.replicas != 1:
            self._since.pop(pool.key, None)
            return 1 if calls and not fact.replicas else fact.replicas
        since = self._since.setdefault(pool.key, self._monotonic())
        return 0 if self._monotonic() - since >= pool.scaling.scale_down_seconds else 1


async def keep_activating(context: Context, sampler: Sampler, seconds: float = SAMPLE_SECONDS) -> None:
    """Wake pools that are called, and put idle ones to sleep, for ever; for the leader."""
    idle = IdleTimes()
    while True:
        for pool in list(sampler.pools.values()):
            try:
                await _activate(context, sampler, idle, pool)
            except KubeError as error:
                logger.warning("the scale of pool %s/%s: %s", *pool.key, error)
        await asyncio.sleep(seconds)


async def _activate(context: Context, sampler: Sampler, idle: IdleTimes, pool: ScaledPool) -> None:
    world = context.observed.world()
    resource, key = (DEPLOYMENTS, pool.key) if pool.group_set is None else (LEADER_WORKER_SETS, pool.group_set)
    live: Child[DeploymentFact] | None = context.observed.child(resource, key)
    if has_keda(world.facts) or live is None or live.deleting:
        return
    if sampler.pools.get(pool.key) != pool:
        return  # it scales in another way by now, or not any more
    wanted = idle.wanted(pool, live.fact, sampler.requests_in_flight(pool.key))
    if wanted == live.fact.replicas:
        return
    logger.info("%s %s/%s: %d replicas → %d", resource.kind, *key, live.fact.replicas, wanted)
    await context.writer.apply(
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"namespace": key.namespace, "name": key.name, "uid": live.uid},
            "spec": {"replicas": wanted},
        },
        manager=SCALE_MANAGER,
    )
