"""Going: what is said of a resource that is being deleted and still there, because a finalizer keeps it.

That of a deletion in the foreground keeps it until its pods have ended their calls, those of others for as long as they
want. No route or tenant's entry is made of it any more, and what it owns Kubernetes removes.
"""

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.region import RegionStatus
from tomoul.api.tenant import TenantStatus
from tomoul.plan.judge import Verdict, condition

_OVER = frozenset({ConditionType.READY, ConditionType.ROUTES_PROGRAMMED, ConditionType.ENFORCED})
"""What does not hold any more; other conditions tell what was so last."""
_KEPT = "It is being deleted, and what it owns goes with it; a finalizer in `metadata.finalizers` keeps it until then"


def going_model(status: ModelDeploymentStatus, generation: int) -> ModelDeploymentStatus:
    """Of a ModelDeployment that is being deleted, in that generation; `status` is what was said of it last."""
    _, _, wanted = status.ready_regions.partition("/")
    return status.model_copy(
        update={
            "observed_generation": generation,
            "conditions": _over(status.conditions, generation),
            "regions": tuple(
                row.model_copy(
                    update={"conditions": _over(row.conditions, generation), "waiting_for": "", "programmed_route": ""}
                )
                for row in status.regions
            ),
            "ready_regions": f"0/{wanted}" if wanted else "",
            "reason": Reason.BEING_DELETED.value,
        }
    )


def going_region(status: RegionStatus, generation: int) -> RegionStatus:
    """Likewise of a Region."""
    return status.model_copy(
        update={"observed_generation": generation, "conditions": _over(status.conditions, generation)}
    )


def going_tenant(status: TenantStatus, generation: int) -> TenantStatus:
    """Likewise of a Tenant."""
    return status.model_copy(
        update={
            "observed_generation": generation,
            "conditions": _over(status.conditions, generation),
            "reason": Reason.BEING_DELETED.value,
        }
    )


def _over(conditions: tuple[Condition, ...], generation: int) -> tuple[Condition, ...]:
    told = Verdict("False", Reason.BEING_DELETED, _KEPT)
    return tuple(
        condition(ConditionType(entry.type), told, generation) if entry.type in _OVER else entry for entry in conditions
    )
