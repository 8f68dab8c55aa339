"""Shrink: a RoutingTable that would lose most of its routes is published only if its ModelDeployments are really gone.

What the operator knows comes from watches, and a route that is withdrawn by mistake is an outage. So before such a
table is written the API server is asked once more; what it does not confirm comes back, and the table stays as it is.
While it does not answer the Region is not Ready, with the reason `TableWithheld`.
"""

import logging
from collections.abc import Set as AbstractSet

from tomoul.controller.context import Context
from tomoul.controller.recorder import About
from tomoul.kube.errors import KubeError
from tomoul.kube.resources import REGIONS
from tomoul.kube.resync import resync
from tomoul.plan.events import kept
from tomoul.plan.naming import table_name
from tomoul.plan.routing import plan_routing_table
from tomoul.plan.world import Key, Manifest

logger = logging.getLogger(__name__)


async def confirmed_table(context: Context, key: Key, uid: str) -> Manifest | None:
    """The RoutingTable of a Region, or None where none belongs. Raises KubeError while a loss cannot be confirmed."""
    region = key.name
    counter = context.metrics.withheld.labels(region)  # there from the start: a counter that comes late is misread
    manifest = _planned(context, region)
    before = _served(context, region)
    lost = _lost(before, manifest)
    if len(lost) * 2 <= len(before):
        return manifest
    named = ", ".join(f"`{name}`" for name in sorted(lost)[:5])
    words = f"RoutingTable `{region}` would lose {len(lost)} of {len(before)} routes ({named})"
    try:
        await resync(context.client, context.observed.models)
        await resync(context.client, context.observed.regions)
    except KubeError as error:
        counter.inc()
        words = f"{words}, and the API server does not confirm that they are gone: it stays as it is ({error})"
        logger.warning("%s", words)
        tell_withheld(context, region, words)
        raise
    manifest = _planned(context, region)
    left = _lost(before, manifest)
    if left < lost:
        counter.inc()
        words = f"{words}, {len(lost - left)} of which no deletion explains: those are kept"
        logger.warning("%s", words)
        context.recorder.offer(About(REGIONS, key, uid), [kept(words)])
    else:
        logger.info("%s, as the API server confirms", words)
    return manifest


def tell_withheld(context: Context, region: str, why: str | None) -> None:
    """Have the Region's status say why its table is withheld, or no longer say so."""
    withheld = context.observed.withheld
    if why is None:
        changed = withheld.pop(region, None) is not None
    else:
        changed = region not in withheld
        withheld[region] = why
    if changed:
        context.triggers.figures(region)


def _planned(context: Context, region: str) -> Manifest | None:
    return plan_routing_table(context.observed.world(), region, context.observed.claims())


def _served(context: Context, region: str) -> AbstractSet[str]:
    table = context.observed.world().facts.tables.get(table_name(region))
    return {route.id for route in table.spec.models} if table is not None else frozenset()


def _lost(before: AbstractSet[str], manifest: Manifest | None) -> AbstractSet[str]:
    # A table that goes as a whole goes because of its Region, and gateways serve on from what they have.
    return before - {route["id"] for route in manifest["spec"]["models"]} if manifest is not None else frozenset()
