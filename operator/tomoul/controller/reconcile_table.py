"""Reconcile RoutingTables: what a region's gateways serve, and no acknowledgement of gateways that are gone.

A shard is reconciled by itself. While routes are on their way between the tables of a region, all are in one go, under
the name of the first: two that write at once could each take for granted what the other is about to change.
"""

import time
from collections.abc import Mapping
from typing import Any

from tomoul.controller.context import Context
from tomoul.controller.converge import PASSING, REFUSALS, NotYetError, ensure, is_told, remove
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.presence import may_have
from tomoul.controller.shrink import confirmed_tables, tell_withheld
from tomoul.controller.size import fits
from tomoul.kube.errors import Invalid, KubeError, NotFound
from tomoul.kube.resources import PODS, REGIONS, ROUTING_TABLES
from tomoul.plan.naming import gateway_name, region_of_table, table_name
from tomoul.plan.world import Key
from tomoul.plan.written import rests_in_shards, tables_of


async def reconcile_table(context: Context, key: Key) -> None:
    """Bring the RoutingTable `key.name` to what Regions and ModelDeployments say, or all tables of its region."""
    observed = context.observed
    region = Key("", region_of_table(key.name))
    owner = observed.regions.get(region)
    if owner is None or owner.deleting:
        observed.withheld.pop(key.name, None)
        return  # Kubernetes deletes the table with its Region
    if region.name in observed.world().unreadable_regions:
        return  # its gateways go on with what they have
    if key.name != table_name(region.name) and not rests_in_shards(observed.world(), region.name):
        context.triggers.tables.first(region.name)
        return
    began = time.monotonic()
    plan = await confirmed_tables(context, key.name, owner.uid)
    if plan is None:
        tell_withheld(context, key.name, None)
        for table in tables_of(observed.world(), region.name):
            tell_withheld(context, table, None)
            await remove(observed, context.writer, ROUTING_TABLES, Key("", table))
        return
    if not await may_have(context, REGIONS, region, owner, list(plan.tables.values())):
        return
    wrote, late, refused = False, list[NotYetError](), list[KubeError]()
    for table, manifest in plan.tables.items():
        if not fits(context, table, manifest):
            continue
        try:
            # What happens meanwhile has the table looked at again; the answer alone need not.
            wrote |= await ensure(observed, context.writer, owner.uid, manifest, planned=True)
        except NotYetError as reason:
            late.append(reason)
        except (*REFUSALS, *PASSING) as error:
            refused.append(error)
            if not is_told(error, context.attempts(WorkKey(Kind.TABLE, *key))):
                continue
            context.metrics.withheld.labels(region.name).inc()
            tell_withheld(context, table, f"RoutingTable `{table}` is refused, and stays as it is: {error}")
        else:
            tell_withheld(context, table, None)
    for table in plan.unused:
        tell_withheld(context, table, None)
        await remove(observed, context.writer, ROUTING_TABLES, Key("", table))
    if wrote:
        context.triggers.tables.written(key.name, time.monotonic() - began)
    for table in plan.tables:
        await _forget_gone(context, region.name, Key("", table))
    if refused:
        raise refused[0]
    if late:
        raise late[0]
    if plan.moves and key.name != table_name(region.name):
        raise NotYetError("some of its entries are not where they belong yet")


async def _forget_gone(context: Context, region: str, table: Key) -> None:
    """Remove the entries of gateway pods that do not exist."""
    for operations in await _stale(context, region, table):
        try:
            await context.writer.patch_status(ROUTING_TABLES, table, operations)
        except Invalid:
            break  # the list has moved since it was read; its change has enqueued the table again


async def _stale(context: Context, region: str, table: Key) -> list[list[Mapping[str, Any]]]:
    """Patches that remove the entries of gateway pods that do not exist, the last one first."""
    world = context.observed.world()
    found = world.facts.tables.get(table.name)
    if found is None:
        return []
    namespace = world.settings.namespace
    known = {pod.name for pod in world.facts.pods.get(Key(namespace, gateway_name(region)), ())}
    patches: list[list[Mapping[str, Any]]] = []
    for index, entry in reversed(list(enumerate(found.status.gateways))):
        if entry.name in known:
            continue
        try:
            # The watch of pods may be behind the watch of tables: a new gateway's entry must not go.
            await context.client.get(PODS, Key(namespace, entry.name))
        except NotFound:
            path = f"/status/gateways/{index}"
            patches.append(
                [{"op": "test", "path": f"{path}/name", "value": entry.name}, {"op": "remove", "path": path}]
            )
    return patches
