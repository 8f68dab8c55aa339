"""Planned table: the RoutingTable of a region as of one moment, without keeping all else waiting while it is made.

With 1,500 models a table takes half a second, and a change waited for those of all regions.
"""

import asyncio

from tomoul.controller.observed import Observed
from tomoul.plan.routing import plan_routing_table, table_steps
from tomoul.plan.world import Manifest


async def planned_table(observed: Observed, region: str) -> Manifest | None:
    """What `plan_routing_table` makes of what is known when this returns.

    Others work between its steps; once anything has changed by that, the table is made anew, in one go: parts of two
    moments might give a name to two models.
    """
    changes = observed.changes
    steps = table_steps(observed.world(), region, observed.claims())
    while observed.changes == changes:
        try:
            next(steps)
        except StopIteration as end:
            manifest: Manifest | None = end.value
            return manifest
        await asyncio.sleep(0)
    return plan_routing_table(observed.world(), region, observed.claims())
