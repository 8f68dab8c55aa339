"""The operator: feed, repair, election and workers in one process, until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import math
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from tomoul.controller.acknowledgement import Acknowledgements
from tomoul.controller.canary_watch import CanaryWatch, read_gateway
from tomoul.controller.context import Context
from tomoul.controller.download_watch import DownloadWatch, read_loader
from tomoul.controller.figures import Figures
from tomoul.controller.gauges import OperatorGauges
from tomoul.controller.health import Health
from tomoul.controller.keys import WorkKey
from tomoul.controller.lease import Lease
from tomoul.controller.metrics import Metrics, loop_lag
from tomoul.controller.observed import Listener, Observed
from tomoul.controller.optional import follow_optional
from tomoul.controller.options import OperatorOptions
from tomoul.controller.patience import Patience
from tomoul.controller.recorder import Recorder
from tomoul.controller.repair import keep_repairing, sync
from tomoul.controller.salt import ensure_salt
from tomoul.controller.scaling.activation import keep_activating
from tomoul.controller.scaling.keda import metrics_for_keda
from tomoul.controller.scaling.sampler import Sampler
from tomoul.controller.scaling.server import ExternalMetricsServer, keep_certificate
from tomoul.controller.triggers import Triggers
from tomoul.controller.worker import work
from tomoul.controller.workqueue import WorkQueue
from tomoul.controller.writer import Writer
from tomoul.kube.errors import KubeError, NotFound
from tomoul.kube.feed import feed
from tomoul.kube.http_client import HttpKubeClient
from tomoul.kube.probes import serve
from tomoul.kube.reflector import reflect
from tomoul.kube.resources import MODEL_DEPLOYMENTS, REGIONS, ROUTING_TABLES, TENANTS
from tomoul.kube.store import Change
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0


def _now() -> datetime:
    return datetime.now(UTC)


async def run_operator(options: OperatorOptions, kubeconfig: str | None = None) -> None:
    """Run an operator until SIGTERM or SIGINT.

    Raises `ConfigException` where no API server is configured, OSError for a port that is taken, and an ExceptionGroup
    with what ended a part: LeaseLostError, or a bug.
    """
    # What is known of a large cluster is a million objects that live on: to look through them for cycles took a tenth
    # of the time with Python's own thresholds.
    gc.set_threshold(20_000, 20, 20)
    async with await HttpKubeClient.connect(kubeconfig) as client:
        await Operator(options, client).run()


class Operator:
    """The parts of an operator, connected."""

    def __init__(self, options: OperatorOptions, client: HttpKubeClient) -> None:
        self._options = options
        self._client = client
        self._metrics = Metrics()
        self._observed = Observed(options.settings)
        self._queue: WorkQueue[WorkKey] = WorkQueue(
            taken=lambda key, waited: self._metrics.queue_seconds.labels(key.kind).observe(waited)
        )
        self._triggers = Triggers(self._observed, self._queue)
        acknowledgements = Acknowledgements(
            self._observed,
            lambda region, seconds: self._metrics.acknowledgement_seconds.labels(region).observe(seconds),
        )
        self._observed.listener = _both(acknowledgements, self._triggers)
        self._lease = Lease(client, Key(options.settings.namespace, options.lease_name), options.identity)
        lag = loop_lag(self._metrics.registry)
        self._health = Health(self._observed, self._queue, self._lease, lag, options.resync_seconds)
        self._metrics.registry.register(OperatorGauges(self._observed, self._queue, self._lease))
        self._metrics.registry.register(Figures(self._observed, acknowledgements))
        writer = Writer(client, self._lease, self._observed, self._metrics)
        self._synced = asyncio.Event()
        self._recorder = Recorder(client, self._lease, self._metrics, options.identity, _now)
        self._sampler = Sampler(
            self._observed, options.sample_seconds, options.refused_seconds, self._triggers.around.scaled
        )
        self._service = Key(options.settings.namespace, options.external_metrics_service)
        self._canaries = CanaryWatch(self._observed, self._triggers.told, read_gateway)
        self._downloads = DownloadWatch(self._observed, self._triggers.told, read_loader, now=_now)
        self._context = Context(
            self._observed,
            writer,
            client,
            self._triggers,
            self._recorder,
            self._canaries,
            self._downloads,
            self._metrics,
            Patience(),
            self._queue.attempts,
            _now,
        )

    async def run(self) -> None:
        """Work until a signal comes. What ends a part ends them all."""
        options = self._options
        async with (
            serve(options.health_port, {"/healthz": self._health.alive, "/readyz": self._health.ready}) as health,
            serve(
                options.metrics_port, {}, self._metrics.registry, handlers=metrics_for_keda(self._sampler)
            ) as metrics,
        ):
            logger.info("health on port %d, metrics on port %d", health, metrics)
            try:
                async with asyncio.TaskGroup() as group:
                    await self._until_signal(group)
            finally:
                await self._lease.release()
        logger.info("stopped")

    async def _until_signal(self, group: asyncio.TaskGroup) -> None:
        stop, started, stop_feed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        parts = [group.create_task(self._health.beat()), group.create_task(self._lease.run())]
        if not await _first(stop.wait(), self._kinds_exist()):
            bug: asyncio.Future[None] = loop.create_future()
            feeding = group.create_task(self._feed(started, stop_feed, bug))
            await _first(started.wait(), asyncio.wait([feeding]))
            # kopf has just taken the signals for itself, and it knows nothing of the order in which parts have to end.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            parts += [
                group.create_task(_raise(bug)),
                group.create_task(self._repair()),
                group.create_task(self._lead()),
                group.create_task(
                    follow_optional(
                        self._client,
                        self._observed,
                        self._triggers.around.api,
                        self._metrics,
                        relist_seconds=self._options.resync_seconds,
                    )
                ),
                group.create_task(self._sampler.run()),
            ]
            if self._service.name:
                server = ExternalMetricsServer(
                    self._client, self._sampler, self._service, self._options.external_metrics_port
                )
                parts.append(group.create_task(server.run()))
            await _first(stop.wait(), asyncio.wait([feeding]))
        logger.info("stopping")
        for part in parts:
            part.cancel()
        await asyncio.wait(parts)
        await self._lease.release()  # before kopf, which takes its time
        stop_feed.set()

    async def _kinds_exist(self) -> None:
        """Wait for the CRDs: kopf looks for kinds only once."""
        for resource in (REGIONS, MODEL_DEPLOYMENTS, TENANTS, ROUTING_TABLES):
            while True:
                try:
                    async for _ in self._client.pages(resource):
                        break  # the first says it
                    break
                except NotFound:
                    logger.error("there is no CRD `%s.%s`; install the CRDs", resource.plural, resource.group)
                except KubeError as error:
                    logger.warning("waiting for the API server: %s", error)
                self._health.lists_move()
                await asyncio.sleep(RETRY_SECONDS)

    async def _feed(self, started: asyncio.Event, stop: asyncio.Event, bug: "asyncio.Future[None]") -> None:
        def on_bug(error: Exception) -> None:
            if not bug.done():
                bug.set_exception(error)

        await feed(self._client, self._observed.declared.values(), started=started, stop=stop, on_bug=on_bug)

    async def _repair(self) -> None:
        versions = await sync(self._client, self._observed, self._health, self._metrics)
        self._synced.set()
        seconds = self._options.resync_seconds
        async with asyncio.TaskGroup() as group:
            for resource, store in self._observed.stores.items():
                if resource not in self._observed.declared:
                    group.create_task(reflect(self._client, store, since=versions[resource], relist_seconds=math.inf))
            group.create_task(
                keep_repairing(self._client, self._observed, self._triggers, self._health, self._metrics, seconds)
            )

    async def _lead(self) -> None:
        """Once all is known and this process is the leader: work."""
        await self._lease.acquired.wait()
        await self._synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_salt())
            group.create_task(self._recorder.run())
            group.create_task(self._canaries.run())
            group.create_task(self._downloads.run())
            group.create_task(keep_activating(self._context, self._sampler, self._options.sample_seconds))
            if self._service.name:
                group.create_task(keep_certificate(self._context, self._service))
            for _ in range(self._options.workers):
                group.create_task(work(self._context, self._queue, self._metrics))

    async def _keep_salt(self) -> None:
        while True:
            try:
                await ensure_salt(self._context)
                await asyncio.sleep(self._options.resync_seconds)
            except KubeError as error:
                logger.warning("the Secret with the cache salt: %s", error)
                await asyncio.sleep(RETRY_SECONDS)


def _both(first: Listener, second: Listener) -> Listener:
    def listener(change: Change[Any]) -> None:
        first(change)
        second(change)

    return listener


async def _first(wanted: Coroutine[Any, Any, object], other: Coroutine[Any, Any, object]) -> bool:
    """Wait for one of the two; whether `wanted` is done."""
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _raise(bug: "asyncio.Future[None]") -> None:
    await bug
