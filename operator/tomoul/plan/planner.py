"""The planner: from all resources and facts, everything that should be there, and everything that can be said."""

from collections.abc import Mapping
from dataclasses import dataclass

from tomoul.api.tenant import TenantStatus
from tomoul.plan.claims import claims
from tomoul.plan.key_access import key_access
from tomoul.plan.model import ModelPlan, plan_model
from tomoul.plan.region import RegionPlan, plan_region
from tomoul.plan.tables import plan_tables
from tomoul.plan.tenant import plan_tenant
from tomoul.plan.world import Key, Manifest, World


@dataclass(frozen=True)
class DesiredState:
    """What a world should lead to."""

    objects: tuple[Manifest, ...]
    """Everything that the operator applies, RoutingTables included, sorted by kind, namespace and name."""
    models: Mapping[Key, ModelPlan]
    regions: Mapping[str, RegionPlan]
    tables: Mapping[str, Manifest]
    """RoutingTables by name."""
    tenants: Mapping[Key, TenantStatus]


def plan(world: World) -> DesiredState:
    """Plan everything. The result depends on the world's content only, not on the order of its entries."""
    owners = claims(world.models)
    models = {key: plan_model(world, key, owners) for key in sorted(world.models)}
    statuses = {key: planned.status for key, planned in models.items()}
    regions = {name: plan_region(world, name, statuses) for name in sorted(world.regions)}
    planned = (plan_tables(world, name, owners) for name in sorted(world.regions))
    tables = {name: table for each in planned if each is not None for name, table in sorted(each.tables.items())}
    objects = [obj for planned in models.values() for obj in planned.objects]
    objects += [obj for planned in regions.values() for obj in planned.objects]
    for namespace in sorted({key.namespace for key in world.tenants}):
        objects += key_access(world, namespace)
    return DesiredState(
        objects=tuple(sorted((*objects, *tables.values()), key=identity)),
        models=models,
        regions=regions,
        tables=tables,
        tenants={key: plan_tenant(world, key, owners) for key in sorted(world.tenants)},
    )


def identity(obj: Manifest) -> tuple[str, str, str, str]:
    """What tells an object from all others: apiVersion, kind, namespace, name."""
    meta = obj["metadata"]
    return str(obj["apiVersion"]), str(obj["kind"]), str(meta.get("namespace", "")), str(meta["name"])
