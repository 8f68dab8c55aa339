"""What Envoy accepted → this gateway's entry in the status of each RoutingTable."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from tomoul.api.meta import API_VERSION
from tomoul.api.routingtable import GatewayAcknowledgement, TenantProblem
from tomoul.gateway.agent.state import KnownTable, TableVersion
from tomoul.kube.client import KubeClient, Object
from tomoul.kube.errors import Invalid, KubeError, NotFound, Unavailable
from tomoul.kube.resources import ROUTING_TABLES
from tomoul.plan.world import Key

logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
# Bounds of the API server's field manager and of GatewayAcknowledgement.message.
_LONGEST_MANAGER, _LONGEST_MESSAGE = 128, 2048
_UNDECLARED = "field not declared in schema"
"""What the API server says where the CRD does not have a field of the entry."""
_OLDEST_FIELDS = {"name", "accepted_generation", "rejected_generation", "message"}
"""Fields that every version of the CRD has."""


@dataclass(frozen=True)
class _Verdict:
    """What became of one table; generations of different uids are never compared."""

    uid: str
    accepted: int = 0
    rejected: int = 0
    message: str = ""


class Reporter:
    """Keeps the entries like what Envoy said, for all tables that the API server has.

    Entries are compared with the API server's, not with what was written last, so one that somebody removes comes back.
    """

    def __init__(
        self,
        client: KubeClient,
        gateway: str,
        tables: Mapping[Key, KnownTable],
        on_written: Callable[[Object], None] = lambda item: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`gateway` is the pod's name; `on_written` gets each table as the API server returned it."""
        self._client = client
        self._gateway = gateway
        self._manager = f"tomoul-agent-{gateway}"[:_LONGEST_MANAGER]
        self._tables = tables
        self._on_written = on_written
        self._now = now
        self._verdicts: dict[str, _Verdict] = {}
        self._problems: tuple[TenantProblem, ...] = ()
        self._without_endpoints: Mapping[str, tuple[str, ...]] = {}
        self._changed = asyncio.Event()

    def accepted(
        self,
        versions: Mapping[str, TableVersion],
        problems: tuple[TenantProblem, ...] = (),
        without_endpoints: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        """Envoy accepted a configuration made of these tables, without the keys of which `problems` tell.

        `without_endpoints` are the pools of each table that it has no endpoint of.
        """
        self._problems = problems
        self._without_endpoints = without_endpoints
        for name, version in versions.items():
            verdict = self._verdict(name, version)
            if verdict.rejected <= version.generation:
                verdict = replace(verdict, rejected=0, message="")
            self._verdicts[name] = replace(verdict, accepted=version.generation)
        self.changed()

    def rejected(self, versions: Mapping[str, TableVersion], message: str) -> None:
        """Envoy, or the agent itself, refused a configuration made of these tables."""
        for name, version in versions.items():
            self._verdicts[name] = replace(
                self._verdict(name, version), rejected=version.generation, message=message[:_LONGEST_MESSAGE]
            )
        self.changed()

    def changed(self) -> None:
        """A table in the API server may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled; the API server's errors are logged and retried after 0.5 to 30 seconds."""
        delay = FIRST_DELAY
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write_all()
                delay = FIRST_DELAY
            except KubeError as error:
                wait = max(delay * random.uniform(0.8, 1.2), getattr(error, "retry_after", None) or 0.0)  # noqa: S311
                logger.warning("the status cannot be written: %s; again in %.1f s", error, wait)
                await asyncio.sleep(wait)
                delay = min(delay * 2, LONGEST_DELAY)
                self._changed.set()

    async def _write_all(self) -> None:
        """Write what is to be written of each table, also where that of another is refused. Raises KubeError."""
        refused: KubeError | None = None
        for key, known in list(self._tables.items()):
            try:
                await self._write(key, known)
            except Unavailable:
                raise  # whatever table came next
            except KubeError as error:
                refused = error
        if refused:
            raise refused

    async def _write(self, key: Key, known: KnownTable) -> None:
        entry = self._wanted(key.name, known)
        if entry is None:
            return
        try:
            await self._apply(key, entry.model_dump(mode="json", by_alias=True))
        except Invalid as error:
            if _UNDECLARED in str(error):
                await self._tell_older(key, known, error)
            raise
        logger.info(
            "table %s: accepted generation %d, rejected %d %s",
            key.name, entry.accepted_generation, entry.rejected_generation, entry.message,
        )  # fmt: skip

    async def _tell_older(self, key: Key, known: KnownTable, error: Invalid) -> None:
        """Say in an entry that any CRD takes why there is no acknowledgement: else only the log would."""
        crd = f"{ROUTING_TABLES.plural}.{ROUTING_TABLES.group}"
        words = f"the CustomResourceDefinition `{crd}` is older than this gateway: apply that of its version ({error})"
        told = GatewayAcknowledgement(
            name=self._gateway,
            accepted_generation=known.entry.accepted_generation if known.entry else 0,
            rejected_generation=known.version.generation,
            message=words[:_LONGEST_MESSAGE],
        )
        fields = told.model_dump(mode="json", by_alias=True, include=_OLDEST_FIELDS)
        before = known.entry.model_dump(mode="json", by_alias=True, include=_OLDEST_FIELDS) if known.entry else {}
        if fields != before:
            await self._apply(key, fields)

    async def _apply(self, key: Key, entry: Mapping[str, Any]) -> None:
        status = {"gateways": [entry]}
        manifest: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": ROUTING_TABLES.kind,
            "metadata": {"name": key.name},
            "status": status,
        }
        try:
            written = await self._client.apply(manifest, manager=self._manager, subresource="status")
        except NotFound:
            return  # the table is gone, and its deletion is on the way to the store
        self._on_written(written)

    def _wanted(self, name: str, known: KnownTable) -> GatewayAcknowledgement | None:
        """The entry to write, or None if nothing is known of this table or its entry says so already."""
        verdict = self._verdicts.get(name)
        if verdict is None or verdict.uid != known.version.uid:
            return None
        entry = GatewayAcknowledgement(
            name=self._gateway,
            accepted_generation=verdict.accepted,
            rejected_generation=verdict.rejected,
            message=verdict.message,
            last_update_time=self._now(),
            # Where the tenants are: else each word of a key would be one in each of a region's tables.
            tenant_problems=self._problems if known.table is not None and known.table.spec.tenants else (),
            pools_without_endpoints=self._without_endpoints.get(name, ()),
        )
        if known.entry and known.entry.model_copy(update={"last_update_time": entry.last_update_time}) == entry:
            return None
        return entry

    def _verdict(self, name: str, version: TableVersion) -> _Verdict:
        verdict = self._verdicts.get(name)
        return verdict if verdict is not None and verdict.uid == version.uid else _Verdict(version.uid)
