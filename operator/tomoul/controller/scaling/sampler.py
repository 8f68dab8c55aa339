"""Sampler: asks the gateways of every region that has pools that scale, again and again, what they have in flight.

Envoy has no watch for its figures. Every replica of the operator asks, so that each can answer for all pools.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout

from tomoul.controller.gateway_stats import gateway_stats
from tomoul.controller.observed import Observed
from tomoul.controller.scaling.demand import REFUSED_SECONDS, STATS_QUERY, Demand, parse_stats
from tomoul.gateway.compile.names import pool_cluster
from tomoul.gateway.compile.resources import PoolKey
from tomoul.plan.naming import gateway_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.scaling import ScaledPool, scaled_pools
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 5.0
_TIMEOUT = 4.0
_MISSED = 3
"""Samples in a row that may fail before a gateway's figures are unknown."""


def clusters_of(pool: ScaledPool) -> list[str]:
    """The clusters of the pool's calls in Envoy's statistics.

    Those to its canary are its own before and after: old pods that were scaled down meanwhile would have too many.
    """
    keys = (pool.key,) if pool.canary is None else (pool.key, pool.canary)
    return [pool_cluster(PoolKey(key.namespace, key.name)) for key in keys]


class Sampler:
    """What is known of the calls to each pool that scales."""

    def __init__(
        self,
        observed: Observed,
        seconds: float = SAMPLE_SECONDS,
        refused_seconds: float = REFUSED_SECONDS,
        on_silent: Callable[[str], None] = lambda region: None,
    ) -> None:
        """`on_silent` hears of regions where another gateway than before, or none any more, does not tell its calls."""
        self._observed = observed
        self._seconds = seconds
        self._demand = Demand(_MISSED * seconds + _TIMEOUT, refused_seconds=refused_seconds)
        self._silent: set[str] = set()
        self._on_silent = on_silent
        self.pools: Mapping[Key, ScaledPool] = {}
        """All pools that scale, by their Deployment."""

    async def run(self) -> None:
        """Sample for ever."""
        async with ClientSession(timeout=ClientTimeout(total=_TIMEOUT)) as session:
            while True:
                self.pools = {pool.key: pool for pool in scaled_pools(self._observed.world())}
                gateways = {
                    pod.name: pod
                    for region in {pool.region for pool in self.pools.values()}
                    for pod in self._gateways(region)
                }
                self._demand.forget_others(gateways)
                await asyncio.gather(*(self._ask(session, pod) for pod in gateways.values()))
                self._tell_silent()
                await asyncio.sleep(self._seconds)

    def requests_in_flight(self, key: Key) -> int | None:
        """What an autoscaler should go by for the pool of a Deployment; None while that is not known.

        A replica that is starting counts as one call: whoever it was started for must find it. KeyError for a pool
        that does not scale.
        """
        pool = self.pools[key]
        gateways = self._gateways(pool.region)
        live = [pod.name for pod in gateways if pod.ready and not pod.terminating]
        calls = self._demand.calls(clusters_of(pool), live, [pod.name for pod in gateways])
        facts = self._observed.world().facts
        fact = (facts.deployments if pool.group_set is None else facts.group_sets).get(key)
        starting = fact is not None and fact.replicas > 0 and fact.ready == 0
        return max(calls, 1) if calls is not None and starting else calls

    def _tell_silent(self) -> None:
        """Have it known where a gateway does not tell its calls, and look again at the models of such a region."""
        known = self._observed.silent_gateways
        now = {}
        for region in {pool.region for pool in self.pools.values()}:
            live = [pod.name for pod in self._gateways(region) if pod.ready and not pod.terminating]
            if silent := [name for name in self._demand.unknown(live) if name in self._silent]:
                now[region] = silent[0]
        changed = {region for region in known.keys() | now.keys() if known.get(region) != now.get(region)}
        known.clear()
        known.update(now)
        for region in sorted(changed):
            self._on_silent(region)

    def _gateways(self, region: str) -> Iterable[PodFact]:
        world = self._observed.world()
        pods = world.facts.pods.get(Key(world.settings.namespace, gateway_name(region)), ())
        return [pod for pod in pods if pod.address and not pod.ended and (pod.ready or pod.terminating)]

    async def _ask(self, session: ClientSession, pod: PodFact) -> None:
        try:
            text = await gateway_stats(session, pod.address, STATS_QUERY)
        except (OSError, ClientError, TimeoutError, ValueError) as error:
            # Told once: a gateway that ends is asked until its pod is gone.
            level = logging.DEBUG if pod.name in self._silent or pod.terminating else logging.WARNING
            logger.log(
                level, "gateway %s does not tell its calls in flight: %s", pod.name, error or "no answer in time"
            )
            self._silent.add(pod.name)
            return
        self._silent.discard(pod.name)
        self._demand.hear(pod.name, parse_stats(text))
