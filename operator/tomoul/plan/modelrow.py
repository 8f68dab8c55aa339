"""Model row: what is said of a ModelDeployment in one region."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import PoolStatus, RegionModelStatus
from tomoul.api.region import Region
from tomoul.api.routingtable import ModelRoute, PoolName
from tomoul.plan.acceptance import remarks
from tomoul.plan.adapters import judged_adapters
from tomoul.plan.answering import answering
from tomoul.plan.cachepolicy import judged_cache, kept_cache
from tomoul.plan.capacity import lost_nodes
from tomoul.plan.claims import Claims
from tomoul.plan.download import download_status
from tomoul.plan.engines.base import Refusal
from tomoul.plan.gateways import programmed
from tomoul.plan.judge import (
    MAX_MESSAGE,
    Rollout,
    Verdict,
    first_unmet,
    late_to_answer,
    running,
    scheduled,
    shortened,
    stalled,
)
from tomoul.plan.naming import group_set_name
from tomoul.plan.placement import labels_missing
from tomoul.plan.poolstate import existing_rollouts
from tomoul.plan.promptcache import policy_status
from tomoul.plan.refused import PENDING, conditions_of, refused, refused_row, said_of
from tomoul.plan.rollout import RegionRollout, on_trial
from tomoul.plan.routing import model_route, routes_hash
from tomoul.plan.running import told_seeds
from tomoul.plan.scaling import judged_scaling
from tomoul.plan.secretfields import with_fields
from tomoul.plan.seeds import Seeds, seed_status, seed_verdict
from tomoul.plan.shortage import Shortage, shortage
from tomoul.plan.workload import pools
from tomoul.plan.world import World
from tomoul.plan.zero import with_zero

Pools = Mapping[PoolName, Rollout]
Verdicts = dict[ConditionType, Verdict]
_OF_THE_SPEC = (ConditionType.SEED_KEPT, ConditionType.ADAPTERS_READY)
"""What is not judged anew while a spec is refused."""


class Place(NamedTuple):
    """A model in a region, and the world that both are in."""

    world: World
    model: ModelDeployment
    region: Region
    claims: Claims

    @property
    def name(self) -> str:
        """The region's."""
        return self.region.metadata.name

    def route(self, model_id: str) -> ModelRoute | None:
        """The entry that an id should have in the region's tables."""
        return model_route(self.world, model_id, self.name, self.claims)


class _Newest(NamedTuple):
    """What is known of a spec that is carried out."""

    rollout: RegionRollout
    seeds: Seeds


class _Standing(NamedTuple):
    """What the conditions are judged by."""

    accepted: Verdict
    pools: Pools
    route: ModelRoute | None
    cache: Verdict
    newest: _Newest | None = None
    """None of a spec that is refused: what was said before it stays."""


def accepted_row(place: Place, rollout: RegionRollout, rollouts: Pools) -> RegionModelStatus:
    """The row of a model that is accepted, whose newest revision takes over so, in these pools."""
    world, model, region, claims = place
    route = place.route(model.spec.model.id)
    assert route is not None, "a model that is accepted in a region has a route there"
    accepted = Verdict("True", Reason.ACCEPTED, remarks(model, place.name, claims))
    cache = judged_cache(world, model, place.name, rollouts)
    newest = _Newest(rollout, told_seeds(world, model, region, pools(model.spec)))
    return _row(place, _Standing(accepted, rollouts, route, cache, newest))


def kept_row(place: Place, refusal: Refusal) -> RegionModelStatus:
    """The row of a model that is refused: what it ran before goes on, if it ever ran."""
    world, model, _, _ = place
    rollouts = existing_rollouts(world, model, place.name)
    if not rollouts:
        return refused_row(model, place.name, refusal)
    route = place.route(model.spec.model.id)
    pools_here = {pool.service for pool in route.pools} if route is not None else set()
    if route is None or not pools_here.intersection(each.name for each in rollouts.values()):
        return _row(place, _Standing(refused(refusal), rollouts, None, PENDING))
    return _row(place, _Standing(refused(refusal), rollouts, route, kept_cache(route.cache, rollouts)))


def _row(place: Place, standing: _Standing) -> RegionModelStatus:
    model, found, newest = place.model, list(standing.pools.values()), standing.newest
    said, routes = said_of(model, place.name), _routes(place, standing)
    placed, lacking = _scheduled(place, found)
    verdicts = _part_of_ready(place, standing, placed, routes)
    unmet = first_unmet(verdicts.values())
    verdicts[ConditionType.READY] = (
        Verdict("True", Reason.READY) if unmet is None else Verdict("False", unmet.reason, unmet.message)
    )
    verdicts |= _beside_ready(place, standing)
    earlier = () if newest is not None else tuple(each for each in said.conditions if each.type in _OF_THE_SPEC)
    row = said.model_copy(
        update={
            "conditions": (*conditions_of(model, verdicts), *earlier),
            "pools": tuple(_pool_status(place, pool, rollout) for pool, rollout in standing.pools.items()),
            "download": download_status(found),
            "waiting_for": shortened(unmet.message, MAX_MESSAGE) if unmet is not None else "",
            "gpus_needed": lacking.needed if lacking is not None else None,
            "gpus_free": lacking.free if lacking is not None else None,
            "programmed_route": _programmed_route(said.programmed_route, routes, verdicts),
        }
    )
    if newest is None:
        return row
    policy = policy_status(model.spec, standing.route.cache) if standing.route is not None else said.cache_policy
    told = {"rollout": newest.rollout.status, "seed": seed_status(newest.seeds), "cache_policy": policy}
    return row.model_copy(update=told)


def _scheduled(place: Place, found: Sequence[Rollout]) -> tuple[Verdict, Shortage | None]:
    """Whether all pods have nodes, and what they lack where the scheduler says that none would do."""
    verdict = scheduled(found)
    # Capacity is only looked at where it is missing: it changes with every other model's pods.
    if verdict.reason is not Reason.UNSCHEDULABLE:
        return verdict, None
    lacking = shortage(place.world, place.model, place.region, found)
    told = [verdict.message, str(lacking or ""), labels_missing(place.world, place.region)]
    return verdict._replace(message="; ".join(filter(None, told))), lacking


def _part_of_ready(place: Place, standing: _Standing, placed: Verdict, routes: list[ModelRoute]) -> Verdicts:
    """The conditions that all have to hold, in the order in which they are told."""
    world, model, _, claims = place
    found, newest, lost = list(standing.pools.values()), standing.newest, lost_nodes(world)
    served = _told(place, standing.pools, stalled(found, running(found, lost)))
    before, ready = said_of(model, place.name).programmed_route, {each.name for each in found if each.ready}
    routed = programmed(world, place.name, routes, before, claims, ready) if routes else PENDING
    verdicts = {
        ConditionType.ACCEPTED: standing.accepted,
        ConditionType.SCHEDULED: placed,
        ConditionType.MODEL_READY: _told(place, standing.pools, late_to_answer(found, answering(found, lost))),
        ConditionType.WORKLOAD_READY: on_trial(newest.rollout, served) if newest is not None else served,
        ConditionType.ROUTES_PROGRAMMED: routed,
        ConditionType.CACHE_POLICY_ENFORCED: standing.cache,
    }
    if newest is not None and (kept := seed_verdict(model.spec, newest.seeds)) is not None:
        verdicts[ConditionType.SEED_KEPT] = kept
    return verdicts


def _beside_ready(place: Place, standing: _Standing) -> Verdicts:
    """Conditions without which the model answers all the same: a pool that cannot grow goes on."""
    world, model, _, _ = place
    found: Verdicts = {}
    if (scaling := judged_scaling(world, model, place.name, standing.pools)) is not None:
        found[ConditionType.SCALING_ACTIVE] = scaling
    if standing.newest is not None and (adapters := judged_adapters(world, model, place.name)) is not None:
        found[ConditionType.ADAPTERS_READY] = adapters
    return found


def _routes(place: Place, standing: _Standing) -> list[ModelRoute]:
    """The model's, then those of its adapters."""
    if standing.route is None:
        return []
    found = (place.route(adapter.id) for adapter in place.model.spec.adapters)
    return [standing.route, *(route for route in found if route is not None)]


def _programmed_route(before: str, routes: list[ModelRoute], verdicts: Verdicts) -> str:
    """Hash of the routes, once acknowledged: gateways that come and go do not take that back of the same ones."""
    wanted = routes_hash(routes) if routes else ""
    routed = verdicts[ConditionType.ROUTES_PROGRAMMED]
    if routed.status == "True" or routed.reason is Reason.WAITING_FOR_ENDPOINTS:
        return wanted
    return wanted if before == wanted and routed.reason is not Reason.WAITING_FOR_TABLE else ""


def _pool_status(place: Place, pool: PoolName, rollout: Rollout) -> PoolStatus:
    group_set = group_set_name(place.model.metadata.name, place.name, pool) if rollout.size > 1 else None
    return PoolStatus(
        name=pool, deployment=rollout.name, leader_worker_set=group_set, replicas=rollout.wanted, ready=rollout.ready
    )


def _told(place: Place, rollouts: Pools, verdict: Verdict) -> Verdict:
    """The verdict, with what an empty pool means; a Secret that is missing is told with its field."""
    found = with_zero(place.world, place.model, place.name, rollouts, verdict)
    return found if found.status == "True" else found._replace(message=with_fields(found.message, place.model.spec))
