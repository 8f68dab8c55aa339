"""Reconcile a Region: its gateways, if it is hosted here, and its status."""

from tomoul.controller.context import Context
from tomoul.controller.converge import LateError, Refused, converge, is_told
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.presence import may_have
from tomoul.controller.status import refused_region, write_going, write_invalid, write_status
from tomoul.kube.resources import REGIONS
from tomoul.plan.going import going_region
from tomoul.plan.region import plan_region
from tomoul.plan.world import Key


async def reconcile_region(context: Context, key: Key) -> None:
    """Bring the cluster to what the Region says; what one that is going owns is left to Kubernetes."""
    found = context.observed.regions.get(key)
    if found is None:
        return
    if found.deleting:
        if context.observed.settings.hosts(key.name):
            await write_going(context, REGIONS, key, found, going_region)
        return
    if found.resource is None:
        await write_invalid(context, REGIONS, key, found)
        return
    plan = plan_region(context.observed.world(), key.name)
    if not await may_have(context, REGIONS, key, found, plan.objects):
        return
    status = plan.status
    trouble: Refused | LateError | None = None
    try:
        await converge(context.observed, context.writer, found.uid, plan.objects)
    except Refused as error:
        if not is_told(error.passing, context.attempts(WorkKey(Kind.REGION, *key))):
            raise
        status, trouble = refused_region(status, str(error)), error
    except LateError as error:
        trouble = error
    before = found.resource.status
    now = await write_status(context, REGIONS, key, found.uid, before, status)
    if now.accelerators != before.accelerators:
        context.triggers.around.capacity(key.name)
    if trouble is not None:
        raise trouble
