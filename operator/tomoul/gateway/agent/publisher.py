"""What is known of the cluster → what Envoy is told: always the newest state, and only complete ones."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.ads import Acknowledgement, AdsServer
from tomoul.gateway.agent.salvage import Salvage
from tomoul.gateway.agent.state import GatewayState, TableVersion, version_of
from tomoul.gateway.compile.resources import EnvoyResources
from tomoul.gateway.compile.tenants import secret_refs

logger = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.02
RETRY_SECONDS = 60.0
# How many of the bad entries of a table its status names.
_NAMED = 8


class Publisher:
    """Publishes the state of the world whenever it changes; bursts of changes become one version.

    A table that disappears is served as it was last: whatever took it away, an empty gateway is no improvement; not so
    one that held a part of the models, if it had none left or all are in one table again. A table that Envoy refuses is
    replaced by its last accepted state, so that endpoints go on changing, and then by that with all changes but the bad
    ones (salvage.py); it is tried again when it changes, and once a minute, as is whatever else was refused. Of several
    that are new in what is refused, each is tried by itself.
    A gateway that has never served gets all tables or none: with some of them it would be ready, and know neither all
    models nor, perhaps, anybody's key.
    """

    def __init__(
        self,
        ads: AdsServer,
        compile_state: Callable[[GatewayState], EnvoyResources],
        read: Callable[[], GatewayState | None],
        on_accepted: Callable[[GatewayState], None] = lambda state: None,
        on_refused: Callable[[Mapping[str, TableVersion], str], None] = lambda versions, message: None,
    ) -> None:
        """`read` gives what is known of the cluster now, None while that is incomplete.

        `on_refused` gets the table versions to blame, those that are new in the refused state, and why it was refused.
        """
        self._ads = ads
        self._compile = compile_state
        self._read = read
        self._on_accepted = on_accepted
        self._on_refused = on_refused
        self._changed = asyncio.Event()
        self._published: GatewayState | None = None
        self._accepted = GatewayState()
        self._refused: dict[str, TableVersion] = {}
        self._suspects: list[str] = []
        """Of the refused tables those that were refused together; each is tried again without the others."""
        self._refused_state: GatewayState | None = None
        self._salvages: dict[str, Salvage] = {}
        """By the refused tables of which something may be served."""
        self._reasons: dict[str, tuple[TableVersion, str]] = {}
        """Why tables are refused, once it is known because of which of their entries."""

    @property
    def published(self) -> GatewayState | None:
        """The newest published state."""
        return self._published

    def restore(self, state: GatewayState) -> None:
        """Publish what was served before this process began."""
        self._accepted = state
        self._publish(state)

    def changed(self) -> None:
        """The world may have changed."""
        self._changed.set()

    def acknowledged(self, acknowledgement: Acknowledgement) -> None:
        """Envoy accepted or refused a version that was published here."""
        state = acknowledgement.label
        assert isinstance(state, GatewayState)
        if acknowledgement.ok:
            tried = self._tried(state)
            self._accepted = state
            self._refused_state = None
            self._on_accepted(state)
            if tried:
                self._salvages[tried].was_accepted()
                self._tell_bad(tried)
            if self._trial():
                self.changed()
            self._try_suspect()
        else:
            self._refuse(state, acknowledgement.message)

    async def run(self) -> None:
        """Publish until cancelled."""
        now = asyncio.get_running_loop().time
        retry_at = now() + RETRY_SECONDS
        while True:
            # Not `wait_for`, which in Python 3.11 loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(retry_at):
                    await self._changed.wait()
            again = now() >= retry_at
            if again:
                # By a clock of its own: changes that never end must not put it off.
                retry_at = now() + RETRY_SECONDS
                self._refused.clear()
                self._suspects.clear()
                self._salvages.clear()
            await asyncio.sleep(DEBOUNCE_SECONDS)
            self._changed.clear()
            known = self._read()
            if known is None:
                continue
            state = self._wanted(known)
            if self._is_due(state, again=again):
                self._publish(state)

    def _is_due(self, state: GatewayState, *, again: bool) -> bool:
        refused = self._refused_state
        if not self._accepted.tables and refused is not None and refused.versions == state.versions:
            return again
        return bool(state.tables) and (state != self._published or (again and state == refused))

    def _wanted(self, known: GatewayState) -> GatewayState:
        """The newest state of every table ever accepted or known now, refused ones aside; endpoints and keys of now.

        Keys of a Secret that only an older table names are those of then.
        """
        refused = self._refused if self._accepted.tables else {}
        new = {name: table for name, table in known.tables.items() if refused.get(name) != version_of(table)}
        one = _is_in_one_table(known.tables)
        old = {
            name: table
            for name, table in self._accepted.tables.items()
            if name in known.tables or not (_is_shard(table) and (one or not table.spec.models))
        }
        self._salvages = {
            name: salvage
            for name, salvage in self._salvages.items()
            if name in known.tables and version_of(known.tables[name]) == salvage.version
        }
        # Beside a table that is new it would not be known what to blame for a refusal.
        if all(name in old and version_of(old[name]) == version_of(table) for name, table in new.items()):
            new.update(self._trial())
        tables = dict(sorted({**old, **new}.items()))
        keys = {**self._accepted.keys, **known.keys}
        return GatewayState(
            tables, known.endpoints, {ref: keys[ref] for ref in sorted(secret_refs([*tables.values()])) if ref in keys}
        )

    def _publish(self, state: GatewayState) -> None:
        self._published = state
        try:
            resources = self._compile(state)
        except Exception as error:
            # A bug, loud in the log and in the status, that must not take a serving gateway away.
            logger.exception("the state of %s cannot be compiled", _described(state))
            self._refuse(state, f"{type(error).__name__}: {error}")
            return
        version = self._ads.publish(resources, state)
        logger.info("published version %d of %s", version, _described(state))

    def _refuse(self, state: GatewayState, message: str) -> None:
        """Go on without the tables that are new in a refused state."""
        self._refused_state = state
        if tried := self._tried(state):
            self._salvages[tried].was_refused(message)
            self._tell_bad(tried)
            self.changed()
            return
        accepted = self._accepted.versions
        new = {name: version for name, version in state.versions.items() if accepted.get(name) != version}
        self._refused.update(new)
        for name in new:
            self._salvages.pop(name, None)
        if len(new) > 1:
            self._suspects = list(dict.fromkeys([*new, *self._suspects]))
        elif new and (name := next(iter(new))) in accepted:
            self._salvages[name] = Salvage(self._accepted.tables[name], state.tables[name])
            version, reason = self._reasons.get(name, (None, ""))
            message = reason if version == new[name] else message
        self._on_refused(new or state.versions, message)
        if new:
            self.changed()
            self._try_suspect()

    def _trial(self) -> dict[str, RoutingTable]:
        """One table to try, of which a part was refused."""
        for name, salvage in self._salvages.items():
            if (trial := salvage.trial) is not None:
                return {name: trial}
        return {}

    def _tried(self, state: GatewayState) -> str:
        """The table that is tried in `state`, or nothing."""
        return next((name for name, trial in self._trial().items() if state.tables.get(name) == trial), "")

    def _tell_bad(self, name: str) -> None:
        """Report what of that table is bad, once all of it is known."""
        salvage = self._salvages[name]
        if not salvage.bad or salvage.trial is not None:
            return
        what = ", ".join(map(str, salvage.bad[:_NAMED])) + (", …" if len(salvage.bad) > _NAMED else "")
        message = f"{what} cannot be served as changed, all else is: {salvage.reason}"
        self._reasons[name] = (salvage.version, message)
        self._on_refused({name: salvage.version}, message)

    def _try_suspect(self) -> None:
        if self._suspects:
            self._refused.pop(self._suspects.pop(0), None)
            self.changed()


def _is_shard(table: RoutingTable) -> bool:
    """Whether it is a part of its region's tables, beside the one that has the region's name."""
    return table.metadata.name != table.spec.region


def _is_in_one_table(tables: Mapping[str, RoutingTable]) -> bool:
    """Whether the region's models are in the table of its name, and there is no shard of it.

    A shard that was served once, before somebody deleted it with models in it or as a snapshot has it that is a second
    too old, would be served for ever, with models that are gone since.
    """
    return not any(map(_is_shard, tables.values())) and any(table.spec.models for table in tables.values())


def _described(state: GatewayState) -> str:
    names = ", ".join(f"table {name} generation {version.generation}" for name, version in state.versions.items())
    return f"{names}, {sum(map(len, state.endpoints.values()))} endpoints in {len(state.endpoints)} pools"
