"""Worker: takes keys from the queue, one at a time, and decides what a failure means."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from tomoul.controller.context import Context
from tomoul.controller.converge import NotYetError, Refused
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.lease import LeaseLostError
from tomoul.controller.metrics import Metrics
from tomoul.controller.reconcile_key_access import reconcile_key_access
from tomoul.controller.reconcile_model import reconcile_model
from tomoul.controller.reconcile_region import reconcile_region
from tomoul.controller.reconcile_table import reconcile_table
from tomoul.controller.reconcile_tenant import reconcile_tenant
from tomoul.controller.workqueue import LONGEST_DELAY, WorkQueue
from tomoul.kube.errors import Forbidden, Invalid, KubeError, Unavailable
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

LONGEST_OUTAGE_DELAY = 60.0
"""Seconds that a key waits at most for an API server, or a webhook, that may be back at any time."""

RECONCILERS: Mapping[Kind, Callable[[Context, Key], Awaitable[None]]] = {
    Kind.MODEL: reconcile_model,
    Kind.REGION: reconcile_region,
    Kind.TABLE: reconcile_table,
    Kind.TENANT: reconcile_tenant,
    Kind.KEY_ACCESS: reconcile_key_access,
}


async def work(context: Context, queue: WorkQueue[WorkKey], metrics: Metrics) -> None:
    """Reconcile keys for ever. Only the loss of the lease ends it."""
    while True:
        key = await queue.get()
        began = time.monotonic()
        try:
            outcome = await _reconcile(context, queue, key)
        finally:
            queue.done(key)
        metrics.reconciles.labels(key.kind, outcome).inc()
        metrics.reconcile_seconds.labels(key.kind).observe(time.monotonic() - began)
        # A reconcile that has nothing to write awaits nothing. A thousand of them in a row would keep everything else
        # from its turn, the renewal of the lease too, which then is lost.
        await asyncio.sleep(0)


async def _reconcile(context: Context, queue: WorkQueue[WorkKey], key: WorkKey) -> str:
    """The outcome, for the metric."""
    try:
        await RECONCILERS[key.kind](context, key.object)
    except LeaseLostError:
        raise
    except NotYetError as reason:
        delay = queue.put_off(key)
        logger.info("%s: %s; looking again in %.0f s", key, reason, delay)
        return "not_yet"
    except (Refused, KubeError) as error:
        cause = error.passing if isinstance(error, Refused) else error
        asked = (cause.retry_after or 0.0) if isinstance(cause, Unavailable) else 0.0
        # What is refused for good waits longer than what only has to come back.
        for_good = cause is None or isinstance(cause, Invalid | Forbidden)
        delay = queue.retry(key, asked, LONGEST_DELAY if for_good else LONGEST_OUTAGE_DELAY)
        logger.warning("%s: %s; again in %.1f s", key, error, delay)
        return "refused" if isinstance(error, Refused) else type(error).__name__.lower()
    except Exception:
        delay = queue.retry(key)
        logger.exception("%s: this is a bug; again in %.1f s", key, delay)
        return "bug"
    queue.forget(key)
    return "done"
