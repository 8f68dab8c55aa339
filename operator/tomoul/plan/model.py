"""Model: what one ModelDeployment should be in this cluster, and what can be said of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus, PoolStatus, RegionModelStatus
from tomoul.api.region import Region
from tomoul.api.routingtable import ModelRoute, PoolName
from tomoul.plan.acceptance import refusals, remarks
from tomoul.plan.adapters import judged_adapters
from tomoul.plan.answering import answering
from tomoul.plan.cachepolicy import judged_cache, kept_cache
from tomoul.plan.capacity import lost_nodes
from tomoul.plan.claims import Claims
from tomoul.plan.claims import claims as all_claims
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
from tomoul.plan.poolstate import existing_rollouts, still_serving, wanted_rollouts
from tomoul.plan.promptcache import policy_status
from tomoul.plan.propagate import propagated
from tomoul.plan.refused import PENDING, conditions_of, refused, refused_row, said_of, unread_row
from tomoul.plan.rollout import RegionRollout, on_trial, region_rollout
from tomoul.plan.rollup import roll_up
from tomoul.plan.routing import active_here, model_route, routes_hash
from tomoul.plan.running import told_seeds
from tomoul.plan.scaling import autoscalers, judged_scaling
from tomoul.plan.secretfields import with_fields
from tomoul.plan.seeds import Seeds, seed_status, seed_verdict
from tomoul.plan.shortage import shortage
from tomoul.plan.workload import pools, workload
from tomoul.plan.world import Key, Manifest, World
from tomoul.plan.zero import with_zero

_OF_THE_SPEC = (ConditionType.SEED_KEPT, ConditionType.ADAPTERS_READY)
"""What is not judged anew while a spec is refused."""


@dataclass(frozen=True)
class ModelPlan:
    """Desired objects of a ModelDeployment in the regions hosted here, and its status without transition times."""

    objects: tuple[Manifest, ...]
    status: ModelDeploymentStatus
    keep: frozenset[str] = frozenset()
    """Regions in which the model is refused: what runs there is neither changed nor removed."""
    still_serving: frozenset[tuple[str, str]] = frozenset()
    """Kind and name of what is not wanted any more, and must stay until what takes its place serves."""


def plan_model(
    world: World, key: Key, claims: Claims | None = None, said: ModelDeploymentStatus | None = None
) -> ModelPlan:
    """Plan one ModelDeployment of `world.models`; KeyError if it is not there.

    With `claims` given, the cost does not grow with the number of models. A model that is being deleted has no
    objects: Kubernetes removes them with it. `said` is what was told of it last, if its status does not say so yet.
    """
    model = world.models[key]
    said = model.status if said is None else said
    claims = all_claims(world.models) if claims is None else claims
    objects: list[Manifest] = []
    rows: list[RegionModelStatus] = []
    keep: set[str] = set()
    serving: set[tuple[str, str]] = set()
    for name, refusal in sorted(refusals(world, key, claims).items()):
        region = active_here(world, name)
        if refusal is None and region is not None and model.metadata.deletion_timestamp is None:
            rollout = region_rollout(world, model, region, pools(model.spec), said)
            made = (*workload(model, region, world.settings, rollout), *autoscalers(model, region, world))
            objects += [propagated(manifest, model, world.settings) for manifest in made]
            rollouts = wanted_rollouts(world, model, name)
            rows.append(_row(world, model, region, claims, rollout, rollouts))
            serving |= still_serving(model, name, rollouts)
        elif refusal is not None and region is not None:
            keep.add(name)
            rows.append(_kept_row(world, model, region, claims, refusal))
        elif refusal is not None and refusal.reason is Reason.UNREADABLE_REGION:
            keep.add(name)
            rows.append(unread_row(model, name, refusal))
        elif refusal is not None and (world.settings.hosts(name) or refusal.reason is Reason.UNKNOWN_REGION):
            rows.append(refused_row(model, name, refusal))
    return ModelPlan(tuple(objects), roll_up(model, rows), frozenset(keep), frozenset(serving))


def _row(
    world: World,
    model: ModelDeployment,
    region: Region,
    claims: Claims,
    rollout: RegionRollout,
    rollouts: Mapping[PoolName, Rollout],
) -> RegionModelStatus:
    name = region.metadata.name
    route = model_route(world, model.spec.model.id, name, claims)
    assert route is not None, "a model that is accepted in a region has a route there"
    accepted = Verdict("True", Reason.ACCEPTED, remarks(model, name, claims))
    cache = judged_cache(world, model, name, rollouts)
    seeds = told_seeds(world, model, region, pools(model.spec))
    return _judged(world, model, region, claims, accepted, route, rollouts, cache, rollout, seeds)


def _kept_row(
    world: World, model: ModelDeployment, region: Region, claims: Claims, refusal: Refusal
) -> RegionModelStatus:
    """The row of a model that is refused: what it ran before goes on, if it ever ran."""
    name = region.metadata.name
    rollouts = existing_rollouts(world, model, name)
    if not rollouts:
        return refused_row(model, name, refusal)
    route = model_route(world, model.spec.model.id, name, claims)
    pools_here = {pool.service for pool in route.pools} if route is not None else set()
    if route is None or not pools_here.intersection(each.name for each in rollouts.values()):
        return _judged(world, model, region, claims, refused(refusal), None, rollouts, PENDING)
    cache = kept_cache(route.cache, rollouts)
    return _judged(world, model, region, claims, refused(refusal), route, rollouts, cache)


def _judged(
    world: World,
    model: ModelDeployment,
    region: Region,
    claims: Claims,
    accepted: Verdict,
    route: ModelRoute | None,
    rollouts: Mapping[PoolName, Rollout],
    cache: Verdict,
    rollout: RegionRollout | None = None,
    seeds: Seeds | None = None,
) -> RegionModelStatus:
    """The row of a model; without `rollout` and `seeds`, which what is refused has not, what was said of them stays."""
    name = region.metadata.name
    said = said_of(model, name)
    before = said.programmed_route
    routes = [] if route is None else [route, *_adapter_routes(world, model, name, claims)]
    wanted = routes_hash(routes) if routes else ""
    found = list(rollouts.values())
    lost = lost_nodes(world)
    served = _told(world, model, name, rollouts, stalled(found, running(found, lost)))
    ready = {each.name for each in found if each.ready}
    placed = scheduled(found)
    # Capacity is only looked at where it is missing: it changes with every other model's pods.
    unschedulable = placed.reason is Reason.UNSCHEDULABLE
    lacking = shortage(world, model, region, found) if unschedulable else None
    told = [placed.message, str(lacking or ""), labels_missing(world, region) if unschedulable else ""]
    placed = placed._replace(message="; ".join(filter(None, told)))
    verdicts = {
        ConditionType.ACCEPTED: accepted,
        ConditionType.SCHEDULED: placed,
        ConditionType.MODEL_READY: _told(world, model, name, rollouts, late_to_answer(found, answering(found, lost))),
        ConditionType.WORKLOAD_READY: on_trial(rollout, served) if rollout is not None else served,
        ConditionType.ROUTES_PROGRAMMED: programmed(world, name, routes, before, claims, ready) if routes else PENDING,
        ConditionType.CACHE_POLICY_ENFORCED: cache,
    }
    if seeds is not None and (kept := seed_verdict(model.spec, seeds)) is not None:
        verdicts[ConditionType.SEED_KEPT] = kept
    routed = verdicts[ConditionType.ROUTES_PROGRAMMED]
    unmet = first_unmet(verdicts.values())
    verdicts[ConditionType.READY] = (
        Verdict("True", Reason.READY) if unmet is None else Verdict("False", unmet.reason, unmet.message)
    )
    # Not a part of Ready: a pool that cannot grow goes on answering.
    if (scaling := judged_scaling(world, model, name, rollouts)) is not None:
        verdicts[ConditionType.SCALING_ACTIVE] = scaling
    # Nor is this: the model itself answers.
    if (adapters := judged_adapters(world, model, name)) is not None and rollout is not None:
        verdicts[ConditionType.ADAPTERS_READY] = adapters
    earlier = () if rollout is not None else tuple(each for each in said.conditions if each.type in _OF_THE_SPEC)
    return RegionModelStatus(
        name=name,
        conditions=(*conditions_of(model, verdicts), *earlier),
        pools=tuple(
            PoolStatus(
                name=pool,
                deployment=rollout.name,
                leader_worker_set=group_set_name(model.metadata.name, name, pool) if rollout.size > 1 else None,
                replicas=rollout.wanted,
                ready=rollout.ready,
            )
            for pool, rollout in rollouts.items()
        ),
        rollout=rollout.status if rollout is not None else said.rollout,
        cache_policy=policy_status(model.spec, route.cache)
        if rollout is not None and route is not None
        else said.cache_policy,
        seed=seed_status(seeds) if seeds is not None else said.seed,
        download=download_status(found),
        waiting_for=shortened(unmet.message, MAX_MESSAGE) if unmet is not None else "",
        gpus_needed=lacking.needed if lacking is not None else None,
        gpus_free=lacking.free if lacking is not None else None,
        # Gateways that come and go do not take back what was acknowledged of the same route.
        programmed_route=wanted
        if routed.status == "True"
        or routed.reason is Reason.WAITING_FOR_ENDPOINTS
        or (before == wanted and routed.reason is not Reason.WAITING_FOR_TABLE)
        else "",
    )


def _adapter_routes(world: World, model: ModelDeployment, region: str, claims: Claims) -> list[ModelRoute]:
    found = (model_route(world, adapter.id, region, claims) for adapter in model.spec.adapters)
    return [route for route in found if route is not None]


def _told(
    world: World, model: ModelDeployment, region: str, rollouts: Mapping[PoolName, Rollout], verdict: Verdict
) -> Verdict:
    """The verdict, with what an empty pool means; a Secret that is missing is told with its field."""
    found = with_zero(world, model, region, rollouts, verdict)
    return found if found.status == "True" else found._replace(message=with_fields(found.message, model.spec))
