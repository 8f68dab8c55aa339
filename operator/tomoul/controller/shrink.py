"""Shrink: a RoutingTable that would lose most of its routes is published only if its ModelDeployments are really gone.

What the operator knows comes from watches, and a route that is withdrawn by mistake is an outage. So before such a
table is written the API server is asked once more; what it does not confirm comes back, and the table stays as it is.
"""

import logging
from collections.abc import Set as AbstractSet

from tomoul.controller.context import Context
from tomoul.kube.errors import KubeError
from tomoul.kube.resync import resync
from tomoul.plan.naming import table_name
from tomoul.plan.routing import plan_routing_table
from tomoul.plan.world import Manifest

logger = logging.getLogger(__name__)


async def confirmed_table(context: Context, region: str) -> Manifest | None:
    """The RoutingTable of `region`, or None where none belongs. Raises KubeError while a loss cannot be confirmed."""
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
    except KubeError:
        context.metrics.withheld.labels(region).inc()
        logger.warning("%s: withheld until the API server confirms it", words)
        raise
    manifest = _planned(context, region)
    left = _lost(before, manifest)
    if left < lost:
        context.metrics.withheld.labels(region).inc()
        logger.warning("%s, %d of which no deletion explains: those are kept", words, len(lost - left))
    else:
        logger.info("%s, as the API server confirms", words)
    return manifest


def _planned(context: Context, region: str) -> Manifest | None:
    return plan_routing_table(context.observed.world(), region, context.observed.claims())


def _served(context: Context, region: str) -> AbstractSet[str]:
    table = context.observed.world().facts.tables.get(table_name(region))
    return {route.id for route in table.spec.models} if table is not None else frozenset()


def _lost(before: AbstractSet[str], manifest: Manifest | None) -> AbstractSet[str]:
    # A table that goes as a whole goes because of its Region, and gateways serve on from what they have.
    return before - {route["id"] for route in manifest["spec"]["models"]} if manifest is not None else frozenset()
