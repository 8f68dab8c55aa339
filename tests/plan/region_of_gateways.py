"""A region whose tables are written one by one, and gateways each of which has seen another state of each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.plan.specs import model, region, world
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import GatewayAcknowledgement, RoutingTable
from tomoul.gateway.compile.compiler import merged_models
from tomoul.plan.naming import gateway_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.settings import Settings
from tomoul.plan.tables import plan_tables
from tomoul.plan.world import Facts, Key, World


@dataclass
class Gateway:
    """What one gateway's Envoy serves."""

    name: str
    tables: dict[str, RoutingTable] = field(default_factory=dict)
    """As accepted last; one that is deleted is served on."""
    before: dict[str, int] = field(default_factory=dict)

    def served(self) -> dict[str, int]:
        """The version of each model's entry that counts."""
        return {route.id: route.timeouts.request_seconds for route in merged_models(tuple(self.tables.values()))}


class Region:
    """`eu-west` with two gateways, and up to so many models. A model's version is the timeout in its spec."""

    def __init__(self, most: int, models: int) -> None:
        self._settings = Settings(routes_per_table=most)
        self._count = models
        self._clock = 1
        self._uids = 0
        self._born: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.tables: dict[str, RoutingTable] = {}
        self.gateways = [Gateway("a"), Gateway("b")]
        self.too_large: set[str] = set()
        """Names of tables that the API server does not take as they would be."""

    def upgrade(self, most: int | None) -> None:
        """The operator is one that has at most so many routes in one table, or any number."""
        self._settings = replace(self._settings, routes_per_table=most)

    def come(self, number: int) -> None:
        """A model is created, if it is not there."""
        name, now = f"acme/m{number % self._count}", self._tick()
        if name not in self.versions:
            self.versions[name] = self._born[name] = now

    def change(self, number: int) -> None:
        """A model's spec changes."""
        if (name := f"acme/m{number % self._count}") in self.versions:
            self.versions[name] = self._tick()

    def go(self, number: int) -> None:
        """A model is deleted."""
        name = f"acme/m{number % self._count}"
        if self.versions.pop(name, None) is not None:
            del self._born[name]
        for gateway in self.gateways:
            gateway.before.pop(name, None)

    def write(self, number: int) -> bool:
        """The operator begins anew, and ends after some writes; whether there was one to make."""
        plan = plan_tables(self._world(), "eu-west")
        assert plan is not None
        wanted: list[tuple[str, Mapping[str, Any] | None]] = [
            *plan.tables.items(),
            *((each, None) for each in plan.unused),
        ]
        different = [
            (name, table) for name, table in wanted if name not in self.too_large and self._differs(name, table)
        ]
        for name, table in different[: 1 + number % (len(different) + 1)]:
            self._put(name, table)
        return bool(different)

    def see(self, number: int) -> bool:
        """A gateway accepts the newest state of some table, and says so; whether there was one that it had not."""
        gateway = self.gateways[number % 2]
        news = [name for name, table in self.tables.items() if not _same(gateway.tables.get(name), table)]
        if not news:
            return False
        name = news[number // 2 % len(news)]
        table = gateway.tables[name] = self.tables[name]
        entry = GatewayAcknowledgement(name=gateway.name, accepted_generation=table.metadata.generation)
        entries = [each for each in table.status.gateways if each.name != gateway.name]
        status = table.status.model_copy(update={"gateways": (*entries, entry)})
        self.tables[name] = table.model_copy(update={"status": status})
        return True

    def settle(self) -> None:
        """All that is to be done is done."""
        while self.write(1000) or self.see(0) or self.see(1):
            self.check()

    def check(self) -> None:
        """Of what a gateway has served and that is still there it lacks nothing, and has nothing older."""
        for gateway in self.gateways:
            served = gateway.served()
            for name, version in gateway.before.items():
                assert name in served, f"gateway {gateway.name} has lost {name}"
                assert served[name] >= version, f"gateway {gateway.name} went back to an older {name}"
            # Of one that was deleted and made again, what is told of the first is nothing to hold on to.
            gateway.before = {
                name: version for name, version in served.items() if version >= self._born.get(name, 10**9)
            }

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _world(self) -> World:
        found = world(*(_model(name, version) for name, version in self.versions.items()), regions=(region("eu-west"),))
        pods = [PodFact(name=each.name, ready=True) for each in self.gateways]
        key = Key(self._settings.namespace, gateway_name("eu-west"))
        return replace(found, settings=self._settings, facts=Facts(tables=self.tables, pods={key: pods}))

    def _differs(self, name: str, table: Mapping[str, Any] | None) -> bool:
        found = self.tables.get(name)
        if table is None or found is None:
            return (table is None) != (found is None)
        return RoutingTable.model_validate(table).spec != found.spec

    def _put(self, name: str, table: Mapping[str, Any] | None) -> None:
        if table is None:
            del self.tables[name]
            return
        before, made = self.tables.get(name), RoutingTable.model_validate(table)
        if before is None:
            self._uids += 1
            metadata = made.metadata.model_copy(update={"uid": f"uid-{self._uids}", "generation": 1})
            self.tables[name] = made.model_copy(update={"metadata": metadata})
            return
        metadata = before.metadata.model_copy(update={"generation": before.metadata.generation + 1})
        self.tables[name] = made.model_copy(update={"metadata": metadata, "status": before.status})


def _model(name: str, version: int) -> ModelDeployment:
    return model(
        Key("m", name.partition("/")[2]), model={"id": name}, routing={"timeouts": {"requestSeconds": version}}
    )


def _same(one: RoutingTable | None, other: RoutingTable) -> bool:
    return one is not None and (one.metadata.uid, one.metadata.generation) == (
        other.metadata.uid,
        other.metadata.generation,
    )
