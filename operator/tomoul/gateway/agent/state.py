"""What a gateway is to serve: the tables of its region and the ready endpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from tomoul.api.routingtable import MAX_POOLS_WITHOUT_ENDPOINTS, GatewayAcknowledgement, RoutingTable
from tomoul.gateway.compile.resources import Endpoints, PoolKey
from tomoul.gateway.compile.tenants import Keys
from tomoul.kube.client import Object


@dataclass(frozen=True)
class TableVersion:
    """One state of a table's spec. A table that is deleted and made again counts from 1 again, hence the uid."""

    uid: str
    generation: int


@dataclass(frozen=True)
class GatewayState:
    """Everything that Envoy's configuration is made of, apart from the gateway's own options."""

    tables: Mapping[str, RoutingTable] = field(default_factory=dict)
    endpoints: Endpoints = field(default_factory=dict)
    keys: Keys = field(default_factory=dict)
    """Hashes of the tenants' keys by the Secrets that they are in."""

    @property
    def versions(self) -> Mapping[str, TableVersion]:
        """Which state of each table it is."""
        return {name: version_of(table) for name, table in self.tables.items()}

    @property
    def without_endpoints(self) -> Mapping[str, tuple[str, ...]]:
        """By table the pools that no call reaches, as a gateway's entry has them."""
        return {name: _without_endpoints(table, self.endpoints) for name, table in self.tables.items()}


@dataclass(frozen=True)
class KnownTable:
    """A RoutingTable as the API server has it now."""

    version: TableVersion
    table: RoutingTable | None
    """None if this agent cannot read it."""
    problem: str = ""
    """Why not."""
    entry: GatewayAcknowledgement | None = None
    """What the table's status says of this agent's gateway."""


def _without_endpoints(table: RoutingTable, endpoints: Endpoints) -> tuple[str, ...]:
    # An adapter has the pools of the model that it is served with.
    found = {
        pool.namespaced_service
        for route in table.spec.models
        for pool in route.pools
        if PoolKey(pool.namespace, pool.service) not in endpoints
    }
    return tuple(sorted(found)[:MAX_POOLS_WITHOUT_ENDPOINTS])


def version_of(table: RoutingTable) -> TableVersion:
    """The state of the spec that `table` holds."""
    return TableVersion(table.metadata.uid, table.metadata.generation)


class TableReader:
    """RoutingTable dicts → KnownTable. A spec is read once per generation: statuses change far more often."""

    def __init__(self, gateway: str) -> None:
        """`gateway` is the name of this agent's entry in the status."""
        self._gateway = gateway
        self._read: dict[str, KnownTable] = {}

    def __call__(self, item: Object) -> KnownTable:
        """The table, with its spec and without its status."""
        metadata = item["metadata"]
        version = TableVersion(metadata.get("uid", ""), metadata.get("generation", 0))
        known = self._read.get(metadata["name"])
        if known is None or known.version != version:
            known = _read(item, version)
            self._read[metadata["name"]] = known
        return KnownTable(known.version, known.table, known.problem, self._entry(item))

    def _entry(self, item: Object) -> GatewayAcknowledgement | None:
        for entry in (item.get("status") or {}).get("gateways") or ():
            if entry.get("name") == self._gateway:
                return GatewayAcknowledgement.model_validate(entry)
        return None


def _read(item: Object, version: TableVersion) -> KnownTable:
    try:
        table = RoutingTable.model_validate({name: value for name, value in item.items() if name != "status"})
    except ValidationError as error:
        first = error.errors()[0]
        field_path = ".".join(str(part) for part in first["loc"])
        return KnownTable(version, None, f"`{field_path}`: {first['msg']}")
    return KnownTable(version, table)
