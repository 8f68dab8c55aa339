"""Named tables: which RoutingTables hold an entry with a name, whoever claims the name by now."""

from collections.abc import Iterable

from tomoul.api.routingtable import RoutingTable, RoutingTableSpec


class NamedTables:
    """A live view, in which a change touches only the names in that table."""

    def __init__(self) -> None:
        self._by_name: dict[str, set[str]] = {}

    def holding(self, names: Iterable[str]) -> set[str]:
        """Names of the tables with an entry that has one of these ids or aliases."""
        return {table for name in names for table in self._by_name.get(name, ())}

    def see(self, table: str, old: RoutingTable | None, new: RoutingTable | None) -> None:
        """Bring the view up to date."""
        before, after = (each.spec if each is not None else None for each in (old, new))
        if before is after:
            return  # a gateway has said something
        gone, come = _names(before), _names(after)
        for name in gone - come:
            tables = self._by_name[name]
            tables.discard(table)
            if not tables:
                del self._by_name[name]
        for name in come - gone:
            self._by_name.setdefault(name, set()).add(table)


def _names(spec: RoutingTableSpec | None) -> set[str]:
    return {name for route in spec.models for name in (route.id, *route.aliases)} if spec is not None else set()
