"""Tenant: what can be said of one."""

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.tenant import TenantStatus
from tomoul.plan.judge import Verdict, condition
from tomoul.plan.world import Key, World


def plan_tenant(world: World, key: Key) -> TenantStatus:
    """The status of one Tenant of `world.tenants`; KeyError if it is not there."""
    generation = world.tenants[key].metadata.generation
    message = "Gateways run without authentication: every caller is one anonymous tenant and nothing here applies"
    verdict = Verdict("False", Reason.AUTH_DISABLED, message)
    return TenantStatus(
        observed_generation=generation, conditions=(condition(ConditionType.ENFORCED, verdict, generation),)
    )
