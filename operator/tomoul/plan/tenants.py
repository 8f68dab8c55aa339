"""Tenants: what the RoutingTable of a region says of them."""

import hashlib
import json
from datetime import UTC, datetime

from tomoul.api.routingtable import MAX_TENANTS, RoutingTableSpec, TenantEntry
from tomoul.api.tenant import Tenant
from tomoul.plan.naming import table_name
from tomoul.plan.world import Key, World

_NEVER = datetime.max.replace(tzinfo=UTC)


def tenant_entries(world: World, region: str) -> tuple[TenantEntry, ...]:
    """All tenants, the oldest first, those included that may not reach `region`: their calls may be for another.

    One that cannot be read stays, in its place, as the table of `region` has it. Those that the table has no room for
    are the youngest, which have not worked before.
    """
    living = [
        (tenant.metadata.creation_timestamp or _NEVER, key, tenant_entry(tenant))
        for key, tenant in world.tenants.items()
        if tenant.metadata.deletion_timestamp is None
    ]
    entries = [entry for _, _, entry in sorted(living, key=lambda item: item[:2])]
    table = world.facts.tables.get(table_name(region))
    if table is not None and world.unreadable_tenants:
        for index, entry in enumerate(table.spec.tenants):
            if Key(entry.namespace, entry.name) in world.unreadable_tenants:
                entries.insert(index, entry)
    return tuple(entries[:MAX_TENANTS])


def tenant_entry(tenant: Tenant) -> TenantEntry:
    """One tenant's entry. Names that mean nothing yet are kept: without them a list could become that of all."""
    return TenantEntry(
        namespace=tenant.metadata.namespace,
        name=tenant.metadata.name,
        secret_name=tenant.spec.api_keys.secret_name,
        regions=tuple(sorted(tenant.spec.regions)),
        models=tuple(sorted(tenant.spec.models)),
        require_region=tenant.spec.require_region,
        limits=tenant.spec.limits,
    )


def entry_hash(entry: TenantEntry) -> str:
    """Hash of an entry: equal entries, wherever they were read, have equal hashes."""
    text = json.dumps(entry.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find_entry(spec: RoutingTableSpec, key: Key) -> TenantEntry | None:
    """The table's entry of a tenant."""
    return next((entry for entry in spec.tenants if (entry.namespace, entry.name) == key), None)


def secret_names(world: World, namespace: str) -> tuple[str, ...]:
    """Secrets with keys of the tenants of `namespace`, sorted; of unreadable ones, those that the tables name."""
    found = {
        tenant.spec.api_keys.secret_name
        for key, tenant in world.tenants.items()
        if key.namespace == namespace and tenant.metadata.deletion_timestamp is None
    }
    unreadable = {key for key in world.unreadable_tenants if key.namespace == namespace}
    if unreadable:
        for table in world.facts.tables.values():
            found |= {e.secret_name for e in table.spec.tenants if Key(e.namespace, e.name) in unreadable}
    return tuple(sorted(found))
