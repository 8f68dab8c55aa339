"""Secrets with tenants' keys: each read by a watch of its own, and only its keys' hashes kept.

A watch for each, since a Role that names Secrets allows to watch those by name and nothing else; one watch of all of a
namespace's Secrets would need the right to read them all.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from tomoul.gateway.compile.keys import SecretKeys, SecretRef, missing, read_keys, unreadable
from tomoul.kube.client import KubeClient, Object
from tomoul.kube.errors import Forbidden, KubeError
from tomoul.kube.reflector import reflect
from tomoul.kube.resources import SECRETS
from tomoul.kube.store import Change, Store
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long changes wait for Secrets that are named for the first time, so that a tenant that changes its Secret is not
without keys between the two.
"""


class SecretWatches:
    """Knows the keys in all Secrets that it was told to follow.

    A Secret that is deleted, or that no longer has a key, revokes it; an API server that is away, or that refuses to
    show the Secret, revokes nothing.
    """

    def __init__(
        self,
        client: KubeClient,
        on_changed: Callable[[], None],
        relist_seconds: float = 600.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_changed` is called whenever something else is known than before, and when `settled` may have changed."""
        self._client = client
        self._on_changed = on_changed
        self._relist_seconds = relist_seconds
        self._wanted: frozenset[SecretRef] = frozenset()
        self._known: dict[SecretRef, SecretKeys] = {}
        self._monotonic = monotonic
        self._incomplete_since: float | None = None
        self._wake = asyncio.Event()

    @property
    def known(self) -> Mapping[SecretRef, SecretKeys]:
        """What is known now, of Secrets that are followed."""
        return {ref: self._known[ref] for ref in sorted(self._wanted) if ref in self._known}

    @property
    def complete(self) -> bool:
        """Whether something is known of each that is followed, and be it that it cannot be read."""
        return self._wanted <= self._known.keys()

    def settled(self) -> bool:
        """Whether there is nothing to wait for: it is complete, or has not become so in a few seconds."""
        now = self._monotonic()
        if self.complete:
            self._incomplete_since = None
            return True
        if self._incomplete_since is None:
            self._incomplete_since = now
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._on_changed)
        return now - self._incomplete_since >= GRACE_SECONDS

    def restore(self, known: Mapping[SecretRef, SecretKeys]) -> None:
        """What was known before this process began; it holds until the API server says otherwise."""
        self._known.update(known)

    def follow(self, refs: Iterable[SecretRef]) -> None:
        """Follow these Secrets and no others."""
        wanted = frozenset(refs)
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake.set()

    async def run(self) -> None:
        """Keep the watches until cancelled."""
        running: dict[SecretRef, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for ref in running.keys() - self._wanted:
                    running.pop(ref).cancel()
                    self._known.pop(ref, None)
                for ref in sorted(self._wanted - running.keys()):
                    running[ref] = group.create_task(self._follow(ref))
                await self._wake.wait()
                self._wake.clear()

    async def _follow(self, ref: SecretRef) -> None:
        def heard(change: Change[SecretKeys]) -> None:
            self._learn(ref, change.new or missing(ref))

        def listed() -> None:
            self._learn(ref, store.get(Key(*ref)) or missing(ref))

        def failed(error: KubeError) -> None:
            if isinstance(error, Forbidden):
                self._learn(ref, unreadable(ref.name, self._known.get(ref)))

        def project(item: Object) -> SecretKeys:
            return read_keys(ref.name, item.get("data") or {})

        store = Store(SECRETS, project, only=Key(*ref), listener=heard)
        await reflect(self._client, store, relist_seconds=self._relist_seconds, on_listed=listed, on_error=failed)

    def _learn(self, ref: SecretRef, keys: SecretKeys) -> None:
        if self._known.get(ref) != keys:
            self._known[ref] = keys
            logger.info(
                "Secret %s/%s: %d keys%s", *ref, len(keys.hashes), f"; {keys.problem.message}" if keys.problem else ""
            )
            self._on_changed()
