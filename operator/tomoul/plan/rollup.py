"""Roll-up: one ModelDeployment's conditions over all its regions."""

from collections.abc import Sequence

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.plan.judge import Verdict, condition

_ORDER = (
    ConditionType.ACCEPTED,
    ConditionType.SCHEDULED,
    ConditionType.MODEL_READY,
    ConditionType.WORKLOAD_READY,
    ConditionType.ROUTES_PROGRAMMED,
    ConditionType.CACHE_POLICY_ENFORCED,
    ConditionType.READY,
)
_WHERE_IT_APPLIES = (ConditionType.SEED_KEPT, ConditionType.SCALING_ACTIVE, ConditionType.ADAPTERS_READY)
_ELSEWHERE = Verdict("Unknown", Reason.HOSTED_ELSEWHERE, "Other operators host all regions of this model")


def roll_up(model: ModelDeployment, rows: Sequence[RegionModelStatus]) -> ModelDeploymentStatus:
    """The status of a model from its rows: each condition holds if it holds in every region hosted here.

    Disabled regions are out of use by intent: they count only if there are no others.
    """
    wanted = [row for row in rows if _find(row, ConditionType.ACCEPTED).reason != Reason.REGION_DISABLED] or list(rows)
    generation = model.metadata.generation
    verdicts = {kind: _over(kind, wanted) if rows else _ELSEWHERE for kind in _ORDER}
    for kind in _WHERE_IT_APPLIES:
        judged = [row for row in wanted if any(entry.type == kind for entry in row.conditions)]
        if judged:
            verdicts[kind] = _over(kind, judged)
    if not rows:
        verdicts[ConditionType.ACCEPTED] = Verdict("True", Reason.HOSTED_ELSEWHERE, _ELSEWHERE.message)
    ready = sum(_find(row, ConditionType.READY).status == "True" for row in wanted)
    return ModelDeploymentStatus(
        observed_generation=generation,
        conditions=tuple(condition(kind, verdict, generation) for kind, verdict in verdicts.items()),
        regions=tuple(rows),
        ready_regions=f"{ready}/{len(wanted)}",
        reason=verdicts[ConditionType.READY].reason,
    )


def _over(kind: ConditionType, rows: Sequence[RegionModelStatus]) -> Verdict:
    found = [(row.name, _find(row, kind)) for row in rows]
    # What is refused comes before what is only not known yet.
    unmet = sorted((item for item in found if item[1].status != "True"), key=lambda item: item[1].status == "Unknown")
    if not unmet:
        # An accepted spec may still have a part that is left out.
        told = [f"{name}: {entry.message}" for name, entry in found if entry.message]
        words = "; ".join(told) if kind is ConditionType.ACCEPTED else ""
        return Verdict("True", Reason(found[0][1].reason), words)
    status = unmet[0][1].status
    words = "; ".join(f"{name}: {entry.message}" for name, entry in unmet if entry.status == status)
    return Verdict(status, Reason(unmet[0][1].reason), words)


def _find(row: RegionModelStatus, kind: ConditionType) -> Condition:
    return next(entry for entry in row.conditions if entry.type == kind)
