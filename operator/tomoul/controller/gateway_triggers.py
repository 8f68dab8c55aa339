"""Gateway triggers: whom it concerns what gateways have accepted, and which gateways there are. They only enqueue."""

from collections.abc import Iterable

from tomoul.api.routingtable import RoutingTable
from tomoul.controller.children import Child
from tomoul.controller.differences import (
    acknowledging,
    awaits_routes,
    is_enforced,
    problems,
    tells_of_no_more,
    without_endpoints,
)
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue
from tomoul.kube.store import Change
from tomoul.plan.naming import region_of_table, shard_of_table
from tomoul.plan.shards import SHARDS
from tomoul.plan.world import Key
from tomoul.plan.written import rests_in_shards

ROUTES_DELAY = 0.5
"""Seconds that models which wait for their routes wait for what other gateways say."""


class GatewayTriggers:
    """Regions, and models and tenants that wait for gateways."""

    def __init__(self, observed: Observed, queue: WorkQueue[WorkKey]) -> None:
        self._observed = observed
        self._queue = queue

    def table(self, change: Change[Child[RoutingTable | None]]) -> None:
        """A table is another one now, or gateways have said something of it."""
        self._told(change)
        self._reached(change)
        # Others than before have acknowledged it.
        everyone = acknowledging(change.old) != acknowledging(change.new)
        region, shard = region_of_table(change.key.name), shard_of_table(change.key.name)
        if shard is None:
            self.gateways(region, everyone=everyone)
        elif shard < SHARDS:
            # Tenants are in the first table, and other models in other shards.
            self._queue.add(WorkKey(Kind.REGION, "", region))
            # One that its models are only on their way to tells nothing new of those that are served already.
            everyone = everyone and rests_in_shards(self._observed.world(), region)
            self._routed(region, self._observed.claims().served[shard], everyone=everyone)

    def gateways(self, region: str, *, everyone: bool) -> None:
        """What the gateways of the region serve has changed, or even which gateways those are."""
        self._queue.add(WorkKey(Kind.REGION, "", region))
        self._routed(region, self._observed.world().models, everyone=everyone)
        for key, tenant in self._observed.world().tenants.items():
            work = WorkKey(Kind.TENANT, *key)
            if everyone or not is_enforced(tenant) or self._queue.is_active(work):
                self._queue.add(work)

    def _routed(self, region: str, keys: Iterable[Key], *, everyone: bool) -> None:
        """Of these models, those whose routes in the region wait for gateways, or all."""
        models = self._observed.world().models
        for key in keys:
            work, model = WorkKey(Kind.MODEL, *key), models[key]
            named = everyone and any(target.name == region for target in model.spec.regions)
            # One that is being worked on may be about to say that it waits for just this.
            if named:
                self._queue.add(work)
            elif awaits_routes(model, region) or self._queue.is_active(work):
                self._queue.add_after(work, ROUTES_DELAY)

    def _reached(self, change: Change[Child[RoutingTable | None]]) -> None:
        """Gateways have the first endpoint of a pool, or none of it any more."""
        pools = {pool for _, pool in without_endpoints(change.old) ^ without_endpoints(change.new)}
        if not pools or change.new is None or change.new.fact is None:
            return
        ids = {
            route.base_id
            for route in change.new.fact.spec.models
            if any(pool.namespaced_service in pools for pool in route.pools)
        }
        for key in self._observed.claimants(ids):
            self._queue.add(WorkKey(Kind.MODEL, *key))

    def _told(self, change: Change[Child[RoutingTable | None]]) -> None:
        """Gateways have said something new of tenants' keys."""
        old, new = problems(change.old), problems(change.new)
        told = {Key(problem.namespace, problem.name) for problem in old ^ new}
        if told and tells_of_no_more(change.old) != tells_of_no_more(change.new):
            told = set(self._observed.tenants)
        for key in told:
            if key in self._observed.tenants:
                self._queue.add(WorkKey(Kind.TENANT, *key))
