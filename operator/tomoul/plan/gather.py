"""Gather: resources in any order → a World."""

from collections.abc import Iterable, Mapping

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.tenant import Tenant
from tomoul.plan.isolation import isolated
from tomoul.plan.jurisdiction import allowed_jurisdictions
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key, World


def gather(
    resources: Iterable[Region | ModelDeployment | Tenant],
    settings: Settings,
    namespaces: Mapping[str, Mapping[str, str]] = {},
) -> World:
    """The world of the resources and of namespaces with these labels, without any facts.

    Of two resources with one identity the last counts.
    """
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
    allowed = {name: allowed_jurisdictions(labels) for name, labels in namespaces.items()}
    jurisdictions = {name: names for name, names in allowed.items() if names is not None}
    return World(settings=settings, regions=regions, models=models, tenants=tenants, jurisdictions=jurisdictions)
