"""Table queue: which RoutingTables have to be looked at, and how long each waits for more changes."""

from collections.abc import Callable, Iterable

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import RoutingTable
from tomoul.controller.children import Child
from tomoul.controller.differences import same_table
from tomoul.controller.keys import Kind, WorkKey
from tomoul.controller.observed import Observed
from tomoul.controller.workqueue import WorkQueue
from tomoul.plan.claims import served_ids
from tomoul.plan.naming import gateway_name, region_of_table, shard_name, shard_of_table, table_name
from tomoul.plan.shards import shard_of
from tomoul.plan.world import Key
from tomoul.plan.written import rests_in_shards, tables_of

TABLE_DELAY = 0.3
"""Seconds that a RoutingTable waits for more changes: a burst of ModelDeployments is a few writes."""
TABLE_PAUSE, LONGEST_TABLE_PAUSE = 10.0, 10.0
"""How long the tables of a region wait after one was written: so many times what the writing took, which grows with the
models in it, and at most so many seconds. In a burst, whose every change is a table, that leaves most of the time to
other work, and of what is not a burst it holds back next to nothing where models are in shards."""


class TableQueue:
    """Enqueues tables. Those of a region whose models are on their way between its tables are one piece of work."""

    def __init__(self, observed: Observed, queue: WorkQueue[WorkKey], monotonic: Callable[[], float]) -> None:
        self._observed = observed
        self._queue = queue
        self._monotonic = monotonic
        self._pauses: dict[str, tuple[float, float]] = {}

    @property
    def longest_pause(self) -> float:
        """Seconds that the tables of some region wait."""
        return max((pause for _, pause in self._pauses.values()), default=0.0)

    def written(self, table: str, seconds: float) -> None:
        """A table, or all of a region by the name of its first, has been brought up to date, which took so long."""
        now, region = self._monotonic(), region_of_table(table)
        until, _ = self._pauses.get(region, (0.0, 0.0))
        pause = min(max(until - now, 0.0) + TABLE_PAUSE * seconds, LONGEST_TABLE_PAUSE)
        self._pauses[region] = (now + pause, pause)

    def one(self, table: str) -> None:
        """One table, by its name."""
        until, _ = self._pauses.get(region_of_table(table), (0.0, 0.0))
        self._queue.add_after(WorkKey(Kind.TABLE, "", table), max(TABLE_DELAY, until - self._monotonic()))

    def changed_itself(
        self, table: str, old: Child[RoutingTable | None] | None, new: Child[RoutingTable | None] | None
    ) -> None:
        """A table, which is another one now, or of which a gateway has said something."""
        region = region_of_table(table)
        if self._moves(region):
            self.one(table_name(region))
        elif old is None or new is None or not same_table(old, new):
            if self._observed.tells_owners:
                self.one(table)
        elif new.fact is not None and self._gone(region, new.fact):
            self.one(table)

    def region(self, region: str) -> None:
        """All tables of a region."""
        self.one(table_name(region))
        if rests_in_shards(self._observed.world(), region):
            for table in tables_of(self._observed.world(), region):
                self.one(table)

    def moving(self, region: str) -> None:
        """A region's tables, if routes are on their way between them: what they wait for may have happened."""
        if self._moves(region):
            self.one(table_name(region))

    def first(self, region: str) -> None:
        """What a region's tables tell of the region itself, and whether its models are to be in shards."""
        self.one(table_name(region))

    def every(self) -> None:
        """All tables of the regions hosted here."""
        for region in self._hosted():
            self.region(region)

    def every_first(self) -> None:
        """`first` of the regions hosted here."""
        for region in self._hosted():
            self.first(region)

    def models(self, keys: Iterable[Key], regions: Iterable[str] | None = None) -> None:
        """Tables with entries of these ModelDeployments, in these regions or all."""
        models, wanted = self._observed.world().models, list(keys)
        if all(key in models for key in wanted):
            # An entry of several models, each of which serves the id in other regions, may be in the shard of any.
            ids = {name for key in wanted for name in served_ids(models[key])}
            sharing = {*wanted, *self._observed.claimants(ids)}
            self._belonging({models[key].spec.model.id for key in sharing}, regions)
        else:
            # Of one that cannot be read, or is not known yet, nobody knows where its entries are.
            for region in self._hosted() if regions is None else regions:
                self.region(region)

    def changed(self, models: Iterable[ModelDeployment], names: Iterable[str]) -> None:
        """Tables with entries of these states of ModelDeployments, or with one that has one of these names by now."""
        self._belonging({model.spec.model.id for model in models})
        for table in self._observed.table_names.holding(names):
            if shard_of_table(table) is not None:
                self.one(table)

    def _belonging(self, base_ids: Iterable[str], regions: Iterable[str] | None = None) -> None:
        """Where the routes of the models with these ids, and of their adapters, belong."""
        shards = {shard_of(name) for name in base_ids}
        for region in self._hosted() if regions is None else regions:
            if shards and not rests_in_shards(self._observed.world(), region):
                self.one(table_name(region))
                continue
            for shard in shards:
                self.one(shard_name(region, shard))

    def _moves(self, region: str) -> bool:
        world = self._observed.world()
        return len(tables_of(world, region)) > 1 and not rests_in_shards(world, region)

    def _gone(self, region: str, table: RoutingTable) -> bool:
        """Whether the table has an entry of a gateway whose pod is not there."""
        pods = self._observed.world().facts.pods.get(Key(self._observed.settings.namespace, gateway_name(region)), ())
        return not {entry.name for entry in table.status.gateways} <= {pod.name for pod in pods}

    def _hosted(self) -> list[str]:
        return [key.name for key in self._observed.regions if self._observed.settings.hosts(key.name)]
