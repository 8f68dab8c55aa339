"""What should run on this machine: the plan of the files, as commands and routing tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.routingtable import GatewayAuth, RoutingTable
from tomoul.api.tenant import TenantStatus
from tomoul.gateway.compile.tenants import KnownTenant, known_tenants, secret_refs
from tomoul.kube.manifests import read_manifests
from tomoul.local.engines import EngineCommand, engine_commands
from tomoul.local.key_files import keys_of
from tomoul.local.models import wheel_image
from tomoul.plan.gather import gather
from tomoul.plan.planner import DesiredState, plan
from tomoul.plan.settings import Settings

UNTOLD = (Reason.NO_STORE_POOL_EMPTY,)
"""Reasons that speak of pods, of which there are none here."""


@dataclass(frozen=True)
class Desired:
    """What should run."""

    engines: tuple[EngineCommand, ...]
    tables: Mapping[str, RoutingTable]
    """What the gateways serve, by region, in the order of the files."""
    messages: tuple[str, ...]
    """What a person should know: models that are not accepted, or not run on this machine; keys that do not work."""
    tenants: tuple[KnownTenant, ...] = ()
    """Who may call, where calls need keys."""


class InvalidFilesError(Exception):
    """The files cannot be served; each line of the message says what is wrong where."""


def desired_state(paths: Sequence[Path], models: Path, auth: GatewayAuth = GatewayAuth.NONE) -> Desired:
    """Read and plan the files in `paths`; models' files are looked up in `models`. Raises InvalidFilesError."""
    try:
        parsed = read_manifests(paths)
    except OSError as error:
        raise InvalidFilesError(f"{error.filename}: {error.strerror}") from error
    if parsed.errors:
        raise InvalidFilesError("\n".join(str(error) for error in parsed.errors))
    world = gather(parsed.resources, _settings(auth), parsed.namespaces)
    state = plan(world)
    if not state.tables:
        raise InvalidFilesError("nothing to serve: there is no Region, or none whose `spec.state` is not Disabled")
    engines, refusals = engine_commands(state.objects, world, models)
    tables = {name: RoutingTable.model_validate(state.tables[name]) for name in world.regions if name in state.tables}
    all_tables = tuple(tables.values())
    # Every table has all tenants.
    tenants = known_tenants(all_tables[:1], keys_of(paths, secret_refs(all_tables)))
    return Desired(engines, tables, (*_conditions(state), *refusals, *_keys(tenants)), tenants)


def _settings(auth: GatewayAuth) -> Settings:
    # One table a region, however many models: no etcd has to take it.
    return Settings(gateway_auth=auth, llama_cpp_image=wheel_image(), routes_per_table=None)


def _keys(tenants: Sequence[KnownTenant]) -> list[str]:
    return [f"Tenant {each.name}: {each.problem.message} ({each.problem.reason})" for each in tenants if each.problem]


def _conditions(state: DesiredState) -> list[str]:
    found: list[tuple[str, ModelDeploymentStatus | TenantStatus]] = [
        (f"ModelDeployment {key.namespace}/{key.name}", each.status) for key, each in state.models.items()
    ]
    found += [(f"Tenant {key.namespace}/{key.name}", status) for key, status in state.tenants.items()]
    return [
        f"{name}: {condition.message} ({condition.reason})"
        for name, status in found
        for condition in status.conditions
        if condition.type in (ConditionType.ACCEPTED, ConditionType.CACHE_POLICY_ENFORCED)
        and condition.status == "False"
        and condition.reason not in UNTOLD
    ]
