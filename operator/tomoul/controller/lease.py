"""Leader election by a Lease: of the operator's replicas one writes.

A lease is judged by the local monotonic time since its record was last seen to change, never by the times written in
it: clocks differ. A leader that has not renewed for `RENEW_DEADLINE` stops writing, well before anybody else may begin.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from tomoul.kube.client import KubeClient, Object
from tomoul.kube.errors import Conflict, KubeError, NotFound
from tomoul.kube.resources import LEASES
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

LEASE_DURATION = 15.0
"""Seconds for which others leave an unchanged lease alone."""
RENEW_DEADLINE = 10.0
"""Seconds after its last renewal in which a leader may write."""
RETRY_PERIOD = 2.0
"""Seconds between renewals, and between attempts to become the leader."""
ATTEMPT_TIMEOUT = RENEW_DEADLINE / 2
"""Seconds that an attempt may take: one by a connection that is dead must leave time for another."""
AGAIN = 0.5
"""Seconds until a renewal that failed is tried again."""


class LeaseLostError(Exception):
    """This process is no longer the leader; it has to end."""


class RestoredError(LeaseLostError):
    """The API server's data are older than they were: whatever is known of them may not be so; it has to end."""


class Lease:
    """This process's part in the election for one Lease object."""

    def __init__(
        self,
        client: KubeClient,
        key: Key,
        identity: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`identity` must differ between processes, restarts of one pod included."""
        self._client = client
        self._key = key
        self._identity = identity
        self._monotonic = monotonic
        self._sleep = sleep
        self._seen: tuple[object, float] | None = None  # another holder's record, and when it was first seen so
        self._mine: Object | None = None
        self._renewed = 0.0
        self._version = 0
        self.attempted = monotonic()
        """Monotonic time at which the Lease was last asked for or renewed, well or not."""
        self.acquired = asyncio.Event()
        """Set once this process leads."""

    @property
    def held(self) -> bool:
        """Whether this process may write now."""
        return self._mine is not None and self._monotonic() - self._renewed < RENEW_DEADLINE

    async def run(self) -> None:
        """Become the leader, then stay it. Raises LeaseLostError if that ends."""
        while not await self._attempt(self._acquire):
            await self._sleep(RETRY_PERIOD)
        logger.info("leader of lease %s as %s", self._key.name, self._identity)
        self.acquired.set()
        pause = RETRY_PERIOD
        while True:
            await self._sleep(pause)
            pause = RETRY_PERIOD if await self._attempt(self._renew) else AGAIN
            if not self.held:
                how = "was taken" if self._mine is None else f"was not renewed for {RENEW_DEADLINE:.0f} s"
                logger.error("lease %s %s", self._key.name, how)
                raise LeaseLostError(f"lease {self._key.name} {how}")

    async def release(self) -> None:
        """Give the lease up, so that another replica leads at once. For a process that no longer writes."""
        mine, self._mine = self._mine, None
        if mine is None:
            return
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                try:
                    await self._client.replace(_given_up(mine))
                except Conflict:
                    # As a rule by a renewal of ours whose answer was not waited for.
                    lease = await self._client.get(LEASES, self._key)
                    if lease["spec"].get("holderIdentity") == self._identity:
                        await self._client.replace(_given_up(lease))
        except (KubeError, TimeoutError) as error:
            logger.warning("lease %s not released: %s", self._key.name, str(error) or "no answer in time")

    async def _attempt(self, step: Callable[[], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                return await step()
        except (KubeError, TimeoutError) as error:
            logger.warning("lease %s: %s", self._key.name, str(error) or f"no answer for {ATTEMPT_TIMEOUT:.0f} s")
            return False
        finally:
            self.attempted = self._monotonic()

    async def _acquire(self) -> bool:
        began = self._monotonic()
        try:
            lease = self._checked(await self._client.get(LEASES, self._key))
        except NotFound:
            metadata = {"name": self._key.name, "namespace": self._key.namespace}
            empty = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
            return self._won(await self._client.create({**empty, "spec": self._spec({})}), began)
        spec = lease.get("spec", {})
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        # It is ours already if the answer to the request by which it became so was lost.
        if spec.get("holderIdentity") not in (None, "", self._identity):
            if self._seen is None or self._seen[0] != record:
                self._seen = (record, began)
            if began - self._seen[1] < float(spec.get("leaseDurationSeconds", LEASE_DURATION)):
                return False
        return self._won(await self._client.replace({**lease, "spec": self._spec(spec)}), began)

    async def _renew(self) -> bool:
        assert self._mine is not None
        began = self._monotonic()
        spec = {**self._mine["spec"], "renewTime": _now()}
        try:
            return self._won(await self._client.replace({**self._mine, "spec": spec}), began)
        except (Conflict, NotFound):
            # Somebody has written the lease. An annotation does not matter; another holder does.
            lease = self._checked(await self._client.get(LEASES, self._key))
            if lease["spec"].get("holderIdentity") != self._identity:
                self._mine = None
                return False
            return self._won(await self._client.replace({**lease, "spec": spec}), began)

    def _won(self, lease: Object, began: float) -> bool:
        # Counted from before the request: the server may have written long before its answer came.
        self._mine, self._renewed = self._checked(lease), began
        return True

    def _checked(self, lease: Object) -> Object:
        # A read of one object is never older than the one before, as a list may be, unless etcd itself has gone back.
        # Watches would wait for versions that are in the future, and lists be taken for those of a server behind.
        version = int(lease["metadata"]["resourceVersion"])
        if version < self._version:
            words = f"went back from version {self._version} to {version}"
            raise RestoredError(f"lease {self._key.name} {words}: etcd was restored from a backup, so all is read anew")
        self._version = version
        return lease

    def _spec(self, old: dict[str, Any]) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_DURATION),
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": int(old.get("leaseTransitions", -1)) + 1,
        }


def _given_up(lease: Object) -> Object:
    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
    return {**lease, "spec": spec}


def _now() -> str:
    """The time as a MicroTime; for people who read the lease, and to make every record another one."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
