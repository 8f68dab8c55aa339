"""Succession: one world after another, as a cluster has it in which the manifests of the second follow the first's.

Manifests do not say what the API server knows: which object is older, and so keeps an id that two of them name; the uid
by which what is made belongs to it; what its status told of the rollout so far.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.tenant import Tenant
from tomoul.plan.world import World

EPOCH = datetime.fromtimestamp(0, UTC)
"""Creation of what was there before and does not say since when: it is older than all that is new."""
T = TypeVar("T", Region, ModelDeployment, Tenant)


def in_succession(before: World, after: World) -> tuple[World, World]:
    """Both worlds, in which what both have is one object."""
    first = replace(
        before,
        regions={name: _existing(region) for name, region in before.regions.items()},
        models={key: _existing(model) for key, model in before.models.items()},
        tenants={key: _existing(tenant) for key, tenant in before.tenants.items()},
    )
    second = replace(
        after,
        regions={name: _heir(region, first.regions.get(name)) for name, region in after.regions.items()},
        models={key: _heir(model, first.models.get(key)) for key, model in after.models.items()},
        tenants={key: _heir(tenant, first.tenants.get(key)) for key, tenant in after.tenants.items()},
    )
    return first, second


def _existing(resource: T) -> T:
    if resource.metadata.creation_timestamp is not None:
        return resource
    metadata = resource.metadata.model_copy(update={"creation_timestamp": EPOCH})
    return resource.model_copy(update={"metadata": metadata})


def _heir(resource: T, before: T | None) -> T:
    """The resource as the object that it was before; one that an API server has stored is what it is."""
    if before is None or resource.metadata.uid:
        return resource
    known = before.metadata
    metadata = resource.metadata.model_copy(
        update={
            "uid": known.uid,
            "creation_timestamp": known.creation_timestamp,
            "deletion_timestamp": known.deletion_timestamp,
        }
    )
    return resource.model_copy(update={"metadata": metadata, "status": before.status})
