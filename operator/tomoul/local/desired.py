"""What should run on this machine: the plan of the files, as commands and routing tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tomoul.api.conditions import ConditionType, Reason
from tomoul.api.routingtable import RoutingTable
from tomoul.kube.manifests import read_manifests
from tomoul.local.engines import EngineCommand, engine_commands
from tomoul.plan.gather import gather
from tomoul.plan.planner import DesiredState, plan
from tomoul.plan.world import Settings

UNTOLD = (Reason.NO_STORE_POOL_EMPTY,)
"""Reasons that speak of pods, of which there are none here."""


@dataclass(frozen=True)
class Desired:
    """What should run."""

    engines: tuple[EngineCommand, ...]
    tables: Mapping[str, RoutingTable]
    """What the gateways serve, by region, in the order of the files."""
    messages: tuple[str, ...]
    """What a person should know: models that are not accepted, or not run on this machine."""


class InvalidFilesError(Exception):
    """The files cannot be served; each line of the message says what is wrong where."""


def desired_state(paths: Sequence[Path], models: Path) -> Desired:
    """Read and plan the files in `paths`; models' files are looked up in `models`. Raises InvalidFilesError."""
    try:
        parsed = read_manifests(paths)
    except OSError as error:
        raise InvalidFilesError(f"{error.filename}: {error.strerror}") from error
    if parsed.errors:
        raise InvalidFilesError("\n".join(str(error) for error in parsed.errors))
    world = gather(parsed.resources, Settings())
    state = plan(world)
    if not state.tables:
        raise InvalidFilesError("nothing to serve: there is no Region, or none whose `spec.state` is not Disabled")
    engines, refusals = engine_commands(state.objects, world, models)
    tables = {name: RoutingTable.model_validate(state.tables[name]) for name in world.regions if name in state.tables}
    return Desired(engines, tables, (*_conditions(state), *refusals))


def _conditions(state: DesiredState) -> list[str]:
    return [
        f"ModelDeployment {key.namespace}/{key.name}: {condition.message} ({condition.reason})"
        for key, model in state.models.items()
        for condition in model.status.conditions
        if condition.type in (ConditionType.ACCEPTED, ConditionType.CACHE_POLICY_ENFORCED)
        and condition.status == "False"
        and condition.reason not in UNTOLD
    ]
