"""Of a table that Envoy refuses, all that it does accept: one entry that is bad must not hold up the others. No I/O.

Envoy's words need not tell which one is bad, so that it is found by halves: as many tries as there are bad entries,
times the logarithm of the number of changes.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from tomoul.api.routingtable import RoutingTable
from tomoul.gateway.agent.state import TableVersion, version_of

# Lists of entries, by what tells these apart; any other field is taken as one.
_KEYS = {"models": ("id",), "remote_gateways": ("region",), "tenants": ("namespace", "name")}


class Change(NamedTuple):
    """What differs from the table before: an entry of a list, or a whole field, where `entry` is empty."""

    field: str
    entry: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.field} `{'/'.join(self.entry)}`" if self.entry else self.field


class Salvage:
    """The tries, one after the other; whether each is accepted is for the caller to say."""

    def __init__(self, accepted: RoutingTable, refused: RoutingTable) -> None:
        """`refused` as a whole is known to be; all tries have the metadata of `accepted`, whose state they refine."""
        self.version: TableVersion = version_of(refused)
        self._accepted, self._refused = accepted, refused
        self._good: set[Change] = set()
        self.bad: list[Change] = []
        """Changes that were refused alone."""
        self.reason = ""
        """Why the last of them was."""
        changes = _changes(accepted, refused)
        # A single one is the bad one, of which the caller has been told.
        self._groups: deque[Sequence[Change]] = deque(_halves(changes) if len(changes) > 1 else ())

    @property
    def trial(self) -> RoutingTable | None:
        """What to try next; None once each change has been judged."""
        if not self._groups:
            return None
        return _merged(self._accepted, self._refused, self._good.union(self._groups[0]))

    def was_accepted(self) -> None:
        """The trial was."""
        self._good.update(self._groups.popleft())

    def was_refused(self, reason: str) -> None:
        """The trial was."""
        group = self._groups.popleft()
        if len(group) > 1:
            self._groups.extendleft(reversed(_halves(group)))
        else:
            self.bad.extend(group)
            self.reason = reason


def _changes(before: RoutingTable, after: RoutingTable) -> list[Change]:
    found = []
    for field in type(after.spec).model_fields:
        old, new = getattr(before.spec, field), getattr(after.spec, field)
        if old == new:
            continue
        if field not in _KEYS:
            found.append(Change(field))
            continue
        was, now = _by_key(field, old), _by_key(field, new)
        found += [Change(field, key) for key in {**now, **was} if was.get(key) != now.get(key)]
    return found


def _merged(before: RoutingTable, after: RoutingTable, good: Collection[Change]) -> RoutingTable:
    """`before` with the changes `good`; entries in the order of `after`, which counts for tenants."""
    changed: dict[str, Any] = {}
    for field in type(after.spec).model_fields:
        if field not in _KEYS:
            changed[field] = getattr(after.spec if Change(field) in good else before.spec, field)
            continue
        was, now = (_by_key(field, getattr(table.spec, field)) for table in (before, after))
        picked = {key: (now if Change(field, key) in good else was).get(key) for key in {**now, **was}}
        changed[field] = tuple(entry for entry in picked.values() if entry is not None)
    return before.model_copy(update={"spec": before.spec.model_copy(update=changed)})


def _by_key(field: str, entries: Iterable[Any]) -> dict[tuple[str, ...], Any]:
    return {tuple(getattr(entry, name) for name in _KEYS[field]): entry for entry in entries}


def _halves(changes: Sequence[Change]) -> list[Sequence[Change]]:
    middle = len(changes) // 2
    return [changes[:middle], changes[middle:]]
