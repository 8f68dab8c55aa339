"""Tenants as the filter knows them: whose which key is, and this gateway's part of what each may ask."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tomoul.api.conditions import Reason
from tomoul.api.routingtable import MAX_TENANT_PROBLEMS, GatewayAuth, RoutingTable, TenantEntry, TenantProblem
from tomoul.gateway.compile.keys import Problem, SecretKeys, SecretRef, unread
from tomoul.gateway.compile.resources import Endpoints, PoolKey

Keys = Mapping[SecretRef, SecretKeys]
"""What is known of each Secret that a table names; of one that nobody has read yet, nothing."""


@dataclass(frozen=True)
class KnownTenant:
    """A tenant and the keys that are its own."""

    entry: TenantEntry
    hashes: tuple[str, ...]
    """SHA-256 of each key, in hexadecimal, each once."""
    problem: Problem | None = None
    rival: str = ""
    """Namespace and name of the older tenant that has one of its keys. For a log; not for the tenant to know."""

    @property
    def name(self) -> str:
        """Its name in records and metrics. A namespace's name has no slash, so that no two tenants share one."""
        return f"{self.entry.namespace}/{self.entry.name}"


def requires_keys(tables: Sequence[RoutingTable]) -> bool:
    """Whether calls need a key: if one of a region's tables says so."""
    return any(table.spec.auth is not GatewayAuth.NONE for table in tables)


def secret_refs(tables: Sequence[RoutingTable]) -> frozenset[SecretRef]:
    """Secrets whose keys a gateway has to know."""
    if not requires_keys(tables):
        return frozenset()
    return frozenset(SecretRef(entry.namespace, entry.secret_name) for table in tables for entry in table.spec.tenants)


def gateway_count(tables: Sequence[RoutingTable], endpoints: Endpoints) -> int:
    """How many gateways of the region are ready, as the EndpointSlices of their Service say; at least one, this one."""
    services = {
        PoolKey(table.spec.gateway_service.namespace, table.spec.gateway_service.name)
        for table in tables
        if table.spec.gateway_service is not None
    }
    return max(1, *(len(endpoints.get(service, ())) for service in services), 1)


def known_tenants(tables: Sequence[RoutingTable], keys: Keys) -> tuple[KnownTenant, ...]:
    """All tenants of the tables; none where no keys are asked for. Of two with one key the first in a table has it."""
    if not requires_keys(tables):
        return ()
    owners: dict[str, str] = {}
    found: dict[str, KnownTenant] = {}
    for entry in (entry for table in tables for entry in table.spec.tenants):
        # A gateway waits for what is slow to come, but not for ever: what it then says it takes it must have.
        known = keys.get(SecretRef(entry.namespace, entry.secret_name)) or unread(entry.secret_name)
        tenant = KnownTenant(entry, (), known.problem)
        if tenant.name in found:
            continue  # another shard's copy
        own, problem, rival = [], known.problem, ""
        for key in known.hashes:
            owner = owners.setdefault(key.sha256, tenant.name)
            if owner == tenant.name:
                own.append(key.sha256)
            elif not rival:
                rival = owner
                words = f"entry `{key.entry}` is also a key of an older Tenant, whose it stays"
                problem = problem or Problem(Reason.DUPLICATE_KEY, f"Secret `{entry.secret_name}`: {words}")
        found[tenant.name] = KnownTenant(entry, tuple(dict.fromkeys(own)), problem, rival)
    return tuple(found.values())


def tenant_problems(tenants: Sequence[KnownTenant]) -> tuple[TenantProblem, ...]:
    """What the gateway reports of them, in the order of the tables."""
    return tuple(_problems(tenants))[:MAX_TENANT_PROBLEMS]


def _problems(tenants: Sequence[KnownTenant]) -> Iterator[TenantProblem]:
    for tenant in tenants:
        if tenant.problem is not None:
            yield TenantProblem(
                namespace=tenant.entry.namespace,
                name=tenant.entry.name,
                reason=tenant.problem.reason,
                message=tenant.problem.message[:512],
            )
