"""Reconcile a Tenant: its status."""

from tomoul.controller.context import Context
from tomoul.controller.status import write_going, write_invalid, write_status
from tomoul.kube.resources import TENANTS
from tomoul.plan.going import going_tenant
from tomoul.plan.tenant import plan_tenant
from tomoul.plan.world import Key


async def reconcile_tenant(context: Context, key: Key) -> None:
    """Tell the Tenant what holds for it."""
    found = context.observed.tenants.get(key)
    if found is None:
        return
    if found.deleting:
        await write_going(context, TENANTS, key, found, going_tenant)
        return
    if found.resource is None:
        await write_invalid(context, TENANTS, key, found)
        return
    status = plan_tenant(context.observed.world(), key, context.observed.claims())
    await write_status(context, TENANTS, key, found.uid, found.resource.status, status)
