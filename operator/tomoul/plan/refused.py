"""Refused: the row of a model in a region in which it is refused and nothing of it is known to run."""

from collections.abc import Mapping

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import RegionModelStatus
from tomoul.plan.engines.base import Refusal
from tomoul.plan.judge import Verdict, condition

PENDING = Verdict("Unknown", Reason.PENDING, "Judged once the model is accepted")


def refused_row(model: ModelDeployment, region: str, refusal: Refusal) -> RegionModelStatus:
    """The row of a model that is refused in a region."""
    found = refused(refusal)
    verdicts = {
        ConditionType.ACCEPTED: found,
        ConditionType.SCHEDULED: PENDING,
        ConditionType.MODEL_READY: PENDING,
        ConditionType.WORKLOAD_READY: PENDING,
        ConditionType.ROUTES_PROGRAMMED: PENDING,
        ConditionType.CACHE_POLICY_ENFORCED: PENDING,
        ConditionType.READY: found,
    }
    return RegionModelStatus(name=region, conditions=conditions_of(model, verdicts))


def unread_row(model: ModelDeployment, region: str, refusal: Refusal) -> RegionModelStatus:
    """Likewise in a Region that cannot be read: what was decided there holds once it can be read again."""
    said = said_of(model, region)
    update = {"rollout": said.rollout, "programmed_route": said.programmed_route}
    return refused_row(model, region, refusal).model_copy(update=update)


def refused(refusal: Refusal) -> Verdict:
    """`Accepted` of a model that is refused."""
    return Verdict("False", refusal.reason, f"{refusal.field}: {refusal.message}")


def said_of(model: ModelDeployment, region: str) -> RegionModelStatus:
    """What was said last of a model in a region."""
    return next((row for row in model.status.regions if row.name == region), RegionModelStatus(name=region))


def conditions_of(model: ModelDeployment, verdicts: Mapping[ConditionType, Verdict]) -> tuple[Condition, ...]:
    """Conditions of the model in its present generation."""
    generation = model.metadata.generation
    return tuple(condition(kind, verdict, generation) for kind, verdict in verdicts.items())
