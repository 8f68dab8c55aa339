"""Gather: resources in any order → a World."""

from collections.abc import Iterable

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.tenant import Tenant
from tomoul.plan.isolation import isolated
from tomoul.plan.world import Key, Settings, World


def gather(resources: Iterable[Region | ModelDeployment | Tenant], settings: Settings) -> World:
    """The world of the resources, without any facts; of two with one identity the last counts."""
    regions: dict[str, Region] = {}
    models: dict[Key, ModelDeployment] = {}
    tenants: dict[Key, Tenant] = {}
    for resource in resources:
        key = Key(resource.metadata.namespace, resource.metadata.name)
        match resource:
            case Region():
                regions[key.name] = resource
            case ModelDeployment():
                models[key] = isolated(resource, settings)
            case Tenant():
                tenants[key] = resource
    return World(settings=settings, regions=regions, models=models, tenants=tenants)
