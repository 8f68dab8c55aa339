"""Repair: lists of all kinds, at the start and then again and again, for what the watches have missed."""

import asyncio
import logging
import time
from collections.abc import Mapping

from tomoul.controller.health import Health
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.triggers import Triggers
from tomoul.kube.client import KubeClient
from tomoul.kube.errors import KubeError
from tomoul.kube.resources import Resource
from tomoul.kube.resync import resync

logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
SETTLE_SECONDS = 30.0
"""Seconds until the second round: of what is deleted between our first list and kopf's, kopf never hears."""
DRIFT_SECONDS = 1800.0
"""How often everything is reconciled although nothing seems to have changed."""


async def sync(client: KubeClient, observed: Observed, health: Health, metrics: Metrics) -> Mapping[Resource, str]:
    """List every kind once, for as long as it takes; the resourceVersions from which watches go on."""
    delay = FIRST_DELAY
    versions: dict[Resource, str] = {}
    while True:
        versions.update(await _round(client, observed, health, metrics, unsynced_only=True))
        if observed.synced:
            break
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)
    logger.info("synced: %s", ", ".join(f"{len(store)} {r.plural}" for r, store in observed.stores.items()))
    return versions


async def keep_repairing(
    client: KubeClient, observed: Observed, triggers: Triggers, health: Health, metrics: Metrics, seconds: float
) -> None:
    """List every kind after half a minute, and then every `seconds`."""
    reconciled = time.monotonic()
    wait = min(SETTLE_SECONDS, seconds)
    while True:
        await asyncio.sleep(wait)
        await _round(client, observed, health, metrics)
        wait = seconds
        if time.monotonic() - reconciled >= DRIFT_SECONDS:
            reconciled = time.monotonic()
            triggers.everything()


async def _round(
    client: KubeClient, observed: Observed, health: Health, metrics: Metrics, *, unsynced_only: bool = False
) -> Mapping[Resource, str]:
    """The versions of the lists that succeeded."""
    versions = {}
    for resource, store in observed.stores.items():
        if unsynced_only and store.synced:
            continue
        metrics.missed.labels(resource.kind).inc(store.take_missed())
        metrics.repairs.labels(resource.kind, "failed")  # there before the first one fails
        first = not store.synced
        try:
            versions[resource] = await resync(client, store, health.lists_move)
        except KubeError as error:
            metrics.repairs.labels(resource.kind, "failed").inc()
            logger.warning("listing %s: %s", resource.plural, error)
        else:
            metrics.repairs.labels(resource.kind, "done").inc()
            if first:
                store.take_missed()  # it told everything, and no watch was late
        health.lists_move()
    return versions
