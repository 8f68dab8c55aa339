"""Presence: whether an owner whose children are missing is still there.

When an owner is deleted Kubernetes deletes its children, and their watches may tell so before the owner's does.
Children that were made anew in that moment would live until Kubernetes finds them again.
"""

from collections.abc import Sequence
from typing import Any

from tomoul.controller.context import Context
from tomoul.controller.declared import Declared
from tomoul.kube.errors import NotFound
from tomoul.kube.resources import Resource, key_of, resource_of
from tomoul.plan.world import Key, Manifest


async def may_have(
    context: Context, resource: Resource, key: Key, owner: Declared[Any], objects: Sequence[Manifest]
) -> bool:
    """Whether `owner` may have these children: if some are missing that it had before, the API server is asked for it.

    One that has not been reconciled in its present generation has missing children as a rule, and is not asked for.
    """
    if owner.resource is None or owner.resource.status.observed_generation < owner.generation:
        return True
    if all(context.observed.child(resource_of(child), key_of(child)) is not None for child in objects):
        return True
    try:
        found = await context.client.get(resource, key)
    except NotFound:
        return False
    return bool(found["metadata"]["uid"] == owner.uid and "deletionTimestamp" not in found["metadata"])
