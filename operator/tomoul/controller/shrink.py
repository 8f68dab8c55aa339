"""Shrink: tables that would lose most of a region's routes are published only if their ModelDeployments are gone.

What the operator knows comes from watches, and a route that is withdrawn by mistake is an outage. So before such a
table is written the API server is asked once more; what it does not confirm comes back, and the table stays as it is.
While it does not answer the Region is not Ready, with the reason `TableWithheld`. All tables of the region are judged
together: of a region whose models are in shards each shard by itself would lose but a few.
"""

import logging
from collections.abc import Set as AbstractSet

from tomoul.controller.context import Context
from tomoul.controller.recorder import About
from tomoul.kube.errors import KubeError
from tomoul.kube.resources import REGIONS
from tomoul.kube.resync import resync
from tomoul.plan.events import kept
from tomoul.plan.naming import region_of_table
from tomoul.plan.tables import TablesPlan, plan_tables
from tomoul.plan.world import Key
from tomoul.plan.written import tables_of

logger = logging.getLogger(__name__)


async def confirmed_tables(context: Context, table: str, uid: str) -> TablesPlan | None:
    """The plan of a table, or of all of its Region (whose uid is given) while routes move; None where none belongs.

    Raises KubeError while a loss cannot be confirmed.
    """
    region = region_of_table(table)
    counter = context.metrics.withheld.labels(region)  # there from the start: a counter that comes late is misread
    plan = _planned(context, region, table)
    if plan is None:
        return None
    # What was confirmed for one shard need not be for the next, as long as it does not come back.
    confirmed = context.observed.confirmed[region] = context.observed.confirmed.get(region, frozenset()) - plan.routes
    if not _served(context, region, plan.tables.keys()) - plan.routes:
        return plan
    before = _served(context, region)
    lost = _lost(context, region, before)
    if len(lost) * 2 <= len(before) or lost <= confirmed:
        return plan
    named = ", ".join(f"`{name}`" for name in sorted(lost)[:5])
    words = f"RoutingTable `{region}` would lose {len(lost)} of {len(before)} routes ({named})"
    try:
        await resync(context.client, context.observed.models)
        await resync(context.client, context.observed.regions)
    except KubeError as error:
        counter.inc()
        words = f"{words}, and the API server does not confirm that they are gone: it stays as it is ({error})"
        logger.warning("%s", words)
        tell_withheld(context, table, words)
        raise
    left = _lost(context, region, before)
    context.observed.confirmed[region] = left
    if left < lost:
        counter.inc()
        words = f"{words}, {len(lost - left)} of which no deletion explains: those are kept"
        logger.warning("%s", words)
        context.recorder.offer(About(REGIONS, Key("", region), uid), [kept(words)])
    else:
        logger.info("%s, as the API server confirms", words)
    return _planned(context, region, table)


def tell_withheld(context: Context, table: str, why: str | None) -> None:
    """Have the Region's status say why a table of it is withheld, or no longer say so."""
    withheld = context.observed.withheld
    if why is None:
        changed = withheld.pop(table, None) is not None
    else:
        changed = withheld.get(table) != why
        withheld[table] = why
    if changed:
        context.triggers.withheld(region_of_table(table))


def _planned(context: Context, region: str, table: str) -> TablesPlan | None:
    return plan_tables(context.observed.world(), region, context.observed.claims(), table)


def _served(context: Context, region: str, tables: AbstractSet[str] | None = None) -> AbstractSet[str]:
    """Ids with an entry in a region's tables as they are, in these or in all."""
    found = tables_of(context.observed.world(), region)
    return {route.id for name, each in found.items() if tables is None or name in tables for route in each.spec.models}


def _lost(context: Context, region: str, before: AbstractSet[str]) -> AbstractSet[str]:
    """Which of these ids would have no entry any more."""
    plan = plan_tables(context.observed.world(), region, context.observed.claims())
    # Tables that go as a whole go because of their Region, and gateways serve on from what they have.
    return before - plan.routes if plan is not None else frozenset()
