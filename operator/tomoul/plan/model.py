"""Model: what one ModelDeployment should be in this cluster, and what can be said of it."""

from dataclasses import dataclass

from tomoul.api.conditions import Reason
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.plan.acceptance import refusals
from tomoul.plan.claims import Claims
from tomoul.plan.claims import claims as all_claims
from tomoul.plan.modelrow import Place, accepted_row, kept_row
from tomoul.plan.optout import unwanted_pool
from tomoul.plan.poolstate import has_groups, still_serving, wanted_rollouts
from tomoul.plan.precedence import awaited_gateways
from tomoul.plan.propagate import propagated
from tomoul.plan.refused import refused_row, unread_row
from tomoul.plan.rollout import region_rollout
from tomoul.plan.rollup import roll_up
from tomoul.plan.routing import active_here
from tomoul.plan.scaling import autoscalers
from tomoul.plan.workload import pools, workload
from tomoul.plan.world import Key, Manifest, World


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
            awaits = awaited_gateways(world, model, region, claims)
            rollout = region_rollout(world, model, region, pools(model.spec), said, awaits)
            made = (
                *workload(model, region, world.settings, rollout, groups=has_groups(world, model, name)),
                *autoscalers(model, region, world),
            )
            objects += [propagated(manifest, model, world.settings) for manifest in made]
            rollouts = wanted_rollouts(world, model, name)
            row = accepted_row(Place(world, model, region, claims), rollout, rollouts)
            rows.append(row)
            serving |= still_serving(model, name, rollouts) | unwanted_pool(world, model, row)
        elif refusal is not None and region is not None:
            keep.add(name)
            rows.append(kept_row(Place(world, model, region, claims), refusal))
        elif refusal is not None and refusal.reason is Reason.UNREADABLE_REGION:
            keep.add(name)
            rows.append(unread_row(model, name, refusal))
        elif refusal is not None and (world.settings.hosts(name) or refusal.reason is Reason.UNKNOWN_REGION):
            rows.append(refused_row(model, name, refusal))
    return ModelPlan(tuple(objects), roll_up(model, rows), frozenset(keep), frozenset(serving))
