"""Size: a RoutingTable is one object, and etcd takes none of more than 1.5 MiB.

About 2,000 models fit; of a region with many models a table holds a sixteenth. A table that would not be taken is not
sent: gateways serve on from what they have, and the Region says why with the reason `TableWithheld`.
"""

import logging

import orjson

from tomoul.controller.context import Context
from tomoul.controller.shrink import tell_withheld
from tomoul.plan.naming import region_of_table
from tomoul.plan.world import Manifest

logger = logging.getLogger(__name__)

LARGEST = 1_400_000
"""Bytes of a table as JSON; etcd's limit (`--max-request-bytes`) less what the gateways write into its status."""


def fits(context: Context, table: str, manifest: Manifest) -> bool:
    """Whether the API server would take the table; if not, the Region is told so."""
    size = len(orjson.dumps(manifest))
    if size <= LARGEST:
        return True
    words = (
        f"RoutingTable `{table}` with {len(manifest['spec']['models'])} models would have {size} bytes, and {LARGEST} "
        "are the most: it stays as it is; serve fewer models, or fewer tenants, from this cluster"
    )
    logger.error("%s", words)
    context.metrics.withheld.labels(region_of_table(table)).inc()
    tell_withheld(context, table, words)
    return False
