"""Tenant: what can be said of one."""

from collections.abc import Iterator, Mapping, Sequence

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.routingtable import MAX_TENANT_PROBLEMS, MAX_TENANTS, GatewayAuth, RoutingTable, TenantProblem
from tomoul.api.tenant import TenantRegionStatus, TenantStatus
from tomoul.plan.claims import Claims
from tomoul.plan.gateways import accepted_by_all, acknowledgements, gateway_pods
from tomoul.plan.judge import Verdict, condition, first_unmet
from tomoul.plan.routing import active_here
from tomoul.plan.tenants import entry_hash, find_entry, tenant_entry
from tomoul.plan.world import Key, World
from tomoul.plan.written import not_held

_SHOWN = 5
"""Most names that a message lists."""


def plan_tenant(world: World, key: Key, claims: Claims) -> TenantStatus:
    """The status of one Tenant of `world.tenants`; KeyError if it is not there."""
    tenant = world.tenants[key]
    generation = tenant.metadata.generation
    before = {row.name: row.enforced_entry for row in tenant.status.regions}
    wanted = entry_hash(tenant_entry(tenant))
    here = _gateways_run_in(world)
    verdicts = {name: _enforced_in(world, key, name, wanted, before.get(name, "")) for name in here}
    accepted, enforced = tenant_accepted(world, key, claims), _enforced(world, verdicts)
    return TenantStatus(
        observed_generation=generation,
        conditions=(
            condition(ConditionType.ACCEPTED, accepted, generation),
            condition(ConditionType.ENFORCED, enforced, generation),
        ),
        regions=tuple(
            TenantRegionStatus(name=name, enforced_entry=wanted if _acknowledged(verdicts[name]) else before[name])
            for name in here
            if _acknowledged(verdicts[name]) or name in before
        ),
        reason=(first_unmet([enforced, accepted]) or enforced).reason,
    )


def tenant_accepted(world: World, key: Key, claims: Claims) -> Verdict:
    """Whether all that a Tenant names exists; the message names the field."""
    spec = world.tenants[key].spec
    known = world.regions.keys() | world.unreadable_regions
    regions = [name for name in spec.regions if name not in known]
    if regions:
        message = f"spec.regions: there is no Region {_listed(regions)}; use one of: {', '.join(sorted(known))}"
        return Verdict("False", Reason.UNKNOWN_REGION, message)
    models = [name for name in spec.models if not _is_model(world, name, claims)]
    if models:
        words = f"spec.models: no ModelDeployment has the id {_listed(models)}"
        ids = sorted({claim.key for name in models for claim in claims.by_name.get(name, ())})
        if ids:
            words += f"; an alias does not count, use: {', '.join(world.models[each].spec.model.id for each in ids)}"
        return Verdict("False", Reason.UNKNOWN_MODEL, words)
    return Verdict("True", Reason.ACCEPTED)


def _is_model(world: World, name: str, claims: Claims) -> bool:
    unreadable = world.unreadable_models.values()
    return bool(claims.claimants(name)) or name in unreadable or None in unreadable


def _gateways_run_in(world: World) -> list[str]:
    """Regions with gateways of ours, sorted; those that cannot be read go on by the table that they have."""
    unread = {name for name in world.unreadable_regions if world.settings.hosts(name) and name in world.facts.tables}
    return sorted(unread.union(name for name in world.regions if active_here(world, name) is not None))


def _enforced(world: World, verdicts: Mapping[str, Verdict]) -> Verdict:
    if world.settings.gateway_auth is GatewayAuth.NONE:
        message = "Gateways run without authentication: every caller is one anonymous tenant and nothing here applies"
        return Verdict("False", Reason.AUTH_DISABLED, message)
    if not verdicts:
        return Verdict("Unknown", Reason.HOSTED_ELSEWHERE, "This operator runs no gateway")
    dark = [name for name, verdict in verdicts.items() if verdict.reason is Reason.NO_LIVE_GATEWAY]
    # A region without gateways takes no calls: nothing of a tenant is to be enforced there before it has some.
    if 0 < len(dark) < len(verdicts):
        lit = first_unmet(verdict for name, verdict in verdicts.items() if name not in dark)
        return lit or Verdict("True", Reason.ENFORCED, f"No gateway is ready in {_listed(dark)}, which takes no calls")
    return first_unmet(verdicts.values()) or Verdict("True", Reason.ENFORCED)


def _enforced_in(world: World, key: Key, region: str, wanted: str, acknowledged: str) -> Verdict:
    """Whether all live gateways of `region` apply the tenant's entry and take all its keys.

    `acknowledged` is the hash of the entry that they were last known to apply: other changes of the table do not count.
    """
    table = world.facts.tables.get(region)
    found = find_entry(table.spec, key) if table is not None else None
    if table is None or found is None or entry_hash(found) != wanted:
        full = table is not None and found is None and len(table.spec.tenants) >= MAX_TENANTS
        words = f"RoutingTable `{region}` is full: it holds {MAX_TENANTS} older tenants; delete some that nobody uses"
        if region in world.unreadable_regions:
            words = f"Region `{region}` cannot be read by this version of the operator: its gateways go on as before"
            return Verdict("False", Reason.UNREADABLE_REGION, words)
        if not full:
            words = not_held(world, region, "tenant")
        return Verdict("False", Reason.WAITING_FOR_TABLE, words)
    accepted = accepted_by_all(world, region, table, known=acknowledged == wanted)
    if accepted.status != "True":
        return accepted
    problem = next(_problems(world, region, table, key), None)
    if problem is not None:
        return Verdict("False", Reason(problem.reason), f"{region}: {problem.message}")
    if (gateway := _untold(world, region, table, key)) is not None:
        words = (
            f"gateway `{gateway}` does not take the keys of {MAX_TENANT_PROBLEMS} older tenants, and tells of no more"
        )
        return Verdict("Unknown", Reason.WAITING_FOR_GATEWAYS, f"{region}: {words}: see those first")
    return Verdict("True", Reason.ENFORCED)


def _acknowledged(verdict: Verdict) -> bool:
    """Whether the gateways have the entry, whatever they say of the keys."""
    return verdict.status == "True" or verdict.reason in KEY_REASONS


KEY_REASONS = (Reason.SECRET_NOT_FOUND, Reason.SECRET_UNREADABLE, Reason.INVALID_KEY, Reason.DUPLICATE_KEY)
"""What a gateway may say of a tenant's keys."""


def _problems(world: World, region: str, table: RoutingTable, key: Key) -> Iterator[TenantProblem]:
    for _, problems in _reported(world, region, table):
        for problem in problems:
            if (problem.namespace, problem.name) == key and problem.reason in KEY_REASONS:
                yield problem


def _untold(world: World, region: str, table: RoutingTable, key: Key) -> str | None:
    """A gateway that has told of as many tenants as it may, all of them before this one in the table; None if none."""
    for name, problems in _reported(world, region, table):
        if len(problems) >= MAX_TENANT_PROBLEMS:
            last = problems[-1].namespace, problems[-1].name
            names = ((entry.namespace, entry.name) for entry in table.spec.tenants)
            if next((found for found in names if found in (last, key)), key) == last:
                return name
    return None


def _reported(world: World, region: str, table: RoutingTable) -> Iterator[tuple[str, Sequence[TenantProblem]]]:
    """What each live gateway says of tenants."""
    live = {pod.name for pod in gateway_pods(world, region) if pod.ready}
    for name, entry in sorted(acknowledgements(table).items()):
        if name in live:
            yield name, entry.tenant_problems


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:_SHOWN]) + more
