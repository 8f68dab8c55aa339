"""Writer: the only way by which the operator changes the cluster.

Every write waits for its token, is refused unless this process leads, is counted, and its answer goes into the Store,
so that the next plan already sees it. Where the API server asks to wait, all writes wait: as each is of another object,
a thousand objects would otherwise be a thousand writes that it has no room for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from tomoul.controller.children import MANAGER, STATUS_MANAGER
from tomoul.controller.contests import Contests
from tomoul.controller.lease import Lease, LeaseLostError
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.kube.client import KubeClient, Object
from tomoul.kube.errors import Conflict, NotFound, Throttled
from tomoul.kube.resources import Resource, resource_of
from tomoul.plan.world import Key, Manifest

T = TypeVar("T")
logger = logging.getLogger(__name__)

WRITES_PER_SECOND, BURST = 500.0, 250
"""What is asked of the API server at most, beside its own fairness; the workers seldom reach it."""


class TokenBucket:
    """Lets `burst` calls through at once and `rate` per second after that."""

    def __init__(self, rate: float, burst: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._tokens = float(burst)
        self._at = monotonic()

    async def take(self) -> None:
        """Wait for a token; waiters get theirs in the order in which they came."""
        now = self._monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


class Writer:
    """Writes for the leader."""

    def __init__(
        self,
        client: KubeClient,
        lease: Lease,
        observed: Observed,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._resumes = monotonic()
        self._client = client
        self._lease = lease
        self._observed = observed
        self.metrics = metrics
        self.contests = Contests(monotonic)
        self._bucket = TokenBucket(WRITES_PER_SECOND, BURST, monotonic=monotonic)

    async def apply(self, manifest: Manifest, *, manager: str = MANAGER, planned: bool = False) -> None:
        """Server-side apply of all that `manager` wants of an object.

        `planned`: whoever calls looks at what is known once more afterwards, so that the answer alone causes no work.
        """
        await self._permit("apply", manifest["kind"])
        answer = await self._asked(self._client.apply(manifest, manager=manager))
        with self._observed.telling_owners(not planned):
            self._seen(answer)

    async def apply_status(self, manifest: Manifest) -> None:
        """Server-side apply of an object's `status`, if it is still there. Conflict if its uid is another by now."""
        await self._permit("status", manifest["kind"])
        try:
            answer = await self._asked(self._client.apply(manifest, manager=STATUS_MANAGER, subresource="status"))
        except NotFound as error:
            logger.debug("the %s was deleted before its status was written: %s", manifest["kind"], error)
            return
        self._seen(answer)

    async def create(self, manifest: Manifest) -> bool:
        """Create, unless it exists; whether it was created."""
        await self._permit("create", manifest["kind"])
        try:
            await self._asked(self._client.create(manifest))
        except Conflict:
            return False
        return True

    async def delete(self, resource: Resource, key: Key, uid: str) -> None:
        """Delete the object with this uid, if it is still there."""
        await self._permit("delete", resource.kind)
        try:
            await self._asked(self._client.delete(resource, key, uid=uid))
        except (NotFound, Conflict):
            return  # gone, or another object by now: what was meant is not there

    async def patch(self, resource: Resource, key: Key, operations: Sequence[Mapping[str, Any]]) -> None:
        """JSON patch of an object that somebody else made. NotFound if it is gone."""
        await self._permit("patch", resource.kind)
        self._seen(await self._asked(self._client.patch_json(resource, key, operations, manager=MANAGER)))

    async def patch_status(self, resource: Resource, key: Key, operations: Sequence[Mapping[str, Any]]) -> None:
        """JSON patch of a status. Invalid if one of its `test` operations fails."""
        await self._permit("patch", resource.kind)
        answer = await self._asked(
            self._client.patch_json(resource, key, operations, manager=STATUS_MANAGER, subresource="status")
        )
        self._seen(answer)

    async def _asked(self, request: Awaitable[T]) -> T:
        try:
            return await request
        except Throttled as error:
            self._resumes = max(self._resumes, self._monotonic() + (error.retry_after or 0.0))
            raise

    async def _permit(self, verb: str, kind: str) -> None:
        await self._bucket.take()
        while (wait := self._resumes - self._monotonic()) > 0:  # noqa: ASYNC110 - until a time
            await asyncio.sleep(wait)
        # After the wait, and with nothing awaited between here and the request.
        if not self._lease.held:
            raise LeaseLostError(f"{verb} of a {kind} is the leader's, and this process is not the leader")
        self.metrics.writes.labels(verb, kind).inc()

    def _seen(self, item: Object) -> None:
        if (store := self._observed.store(resource_of(item))) is not None:
            store.put(item)
