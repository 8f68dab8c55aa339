"""Canary watch: reads the gateways' metrics, while there is a canary and only then.

What was counted is kept in memory: an operator that begins anew, or takes over, counts from there on.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import reduce
from typing import NamedTuple, Protocol

from aiohttp import ClientError

from tomoul.controller.asking import Rounds, ask_all, asking_session
from tomoul.controller.canary_counts import Reading, Tally, readings_of
from tomoul.controller.gateway_stats import gateway_stats
from tomoul.controller.observed import Observed
from tomoul.plan.gateway import METRICS_PORT
from tomoul.plan.gateways import gateway_pods
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

_TRIALS = {"usedonly": "", "filter": "tomoul.trial"}


class Tried(NamedTuple):
    """A canary."""

    region: str
    ids: tuple[str, ...]
    """Of the model and of its adapters: the calls to each are counted under its own."""
    revision: str
    ready: bool
    """Whether it takes calls; from then on it is counted, also while it does not any more."""


class GatewayReader(Protocol):
    """Reads the counts of trials of one gateway pod."""

    async def __call__(self, address: str) -> str:
        """Metrics in Prometheus' text format.

        OSError, ClientError or TimeoutError if there is no answer, ValueError if it is none.
        """
        ...


class CanaryWatch:
    """Counts the calls of the canaries that it is told of."""

    def __init__(
        self,
        observed: Observed,
        on_counted: Callable[[Key], None],
        read: GatewayReader,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_counted` hears of the ModelDeployments whose canaries have new counts."""
        self._observed = observed
        self._on_counted = on_counted
        self._read = read
        self._monotonic = monotonic
        self._tried: dict[Key, dict[Key, Tried]] = {}
        self._tallies: dict[Key, Tally] = {}
        self._rounds = Rounds()

    def follow(self, model: Key, tried: Mapping[Key, Tried]) -> None:
        """The canaries of a ModelDeployment, by namespace and name of their Deployments; none any more if empty."""
        for deployment in self._tried.get(model, {}).keys() - tried.keys():
            self._tallies.pop(deployment, None)
            self._observed.canaries.pop(deployment, None)
        if tried:
            self._tried[model] = dict(tried)
        else:
            self._tried.pop(model, None)
        for deployment, each in tried.items():
            tally = self._tallies.get(deployment)
            if tally is not None and tally.revision == each.revision:
                continue
            self._tallies.pop(deployment, None)
            self._observed.canaries.pop(deployment, None)
            if each.ready:
                now = self._monotonic()
                self._tallies[deployment] = Tally(each.revision, began=now, at=now)
        self._rounds.need(bool(self._tallies))

    async def run(self) -> None:
        """Count for ever."""
        await self._rounds.run(self.count)

    async def count(self) -> None:
        """Ask every live gateway of the regions concerned once."""
        world = self._observed.world()
        counted = {key for tried in self._tried.values() for key in tried if key in self._tallies}
        regions = {tried[key].region for tried in self._tried.values() for key in counted & tried.keys()}
        live = {
            (region, pod.name): pod.address for region in regions for pod in gateway_pods(world, region) if pod.ready
        }
        found = await ask_all(live, self._asked)
        for model, tried in list(self._tried.items()):
            # Some may have ended, or begun, while the gateways were asked.
            for deployment in tried.keys() & self._tallies.keys() & counted:
                self._add(deployment, tried[deployment], found)
                self._on_counted(model)

    def _add(
        self, deployment: Key, tried: Tried, found: Mapping[tuple[str, str], Mapping[str, Reading] | None]
    ) -> None:
        readings = {
            name: reduce(Reading.plus, (counts.get(each, Reading()) for each in tried.ids))
            if counts is not None
            else None
            for (region, name), counts in found.items()
            if region == tried.region
        }
        self._tallies[deployment] = tally = self._tallies[deployment].with_readings(self._monotonic(), readings)
        self._observed.canaries[deployment] = tally.fact

    async def _asked(self, gateway: tuple[str, str], address: str) -> Mapping[str, Reading] | None:
        try:
            return readings_of(await self._read(address))
        except (OSError, ClientError, TimeoutError, ValueError) as error:
            logger.warning("the metrics of gateway %s cannot be read: %r", gateway[1], error)
            return None


async def read_gateway(address: str, port: int = METRICS_PORT) -> str:
    """The trials' counts of the gateway pod with that IP address, as GatewayReader says."""
    async with asking_session() as session:
        return await gateway_stats(session, address, _TRIALS, port)
