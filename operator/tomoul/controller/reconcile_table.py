"""Reconcile the RoutingTable of a region: what its gateways serve, and no acknowledgement of gateways that are gone."""

import time
from collections.abc import Mapping
from typing import Any

from tomoul.controller.context import Context
from tomoul.controller.converge import ensure, remove
from tomoul.controller.presence import may_have
from tomoul.controller.shrink import confirmed_table, tell_withheld
from tomoul.controller.size import fits
from tomoul.kube.errors import Invalid, NotFound
from tomoul.kube.resources import PODS, REGIONS, ROUTING_TABLES
from tomoul.plan.naming import gateway_name, table_name
from tomoul.plan.world import Key


async def reconcile_table(context: Context, key: Key) -> None:
    """Bring the RoutingTable of region `key.name` to what Regions and ModelDeployments say."""
    observed = context.observed
    owner = observed.regions.get(key)
    table = Key("", table_name(key.name))
    if owner is None or owner.deleting:
        observed.withheld.pop(key.name, None)
        return  # Kubernetes deletes the table with its Region
    if key.name in observed.world().unreadable_regions:
        return  # its gateways go on with what they have
    began = time.monotonic()
    manifest = await confirmed_table(context, key, owner.uid)
    if manifest is None:
        tell_withheld(context, key.name, None)
        await remove(observed, context.writer, ROUTING_TABLES, table)
        return
    if not await may_have(context, REGIONS, key, owner, [manifest]):
        return
    if fits(context, key.name, manifest):
        tell_withheld(context, key.name, None)
        if await ensure(observed, context.writer, owner.uid, manifest):
            context.triggers.written(key.name, time.monotonic() - began)
    for operations in await _stale(context, key.name, table):
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
