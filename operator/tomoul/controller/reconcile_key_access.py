"""Reconcile the access of the gateways to the Secrets with one namespace's API keys."""

from tomoul.controller.context import Context
from tomoul.controller.converge import NAMESPACE_ENDS, NotYetError, ensure, remove
from tomoul.kube.errors import Forbidden
from tomoul.kube.resources import ROLE_BINDINGS, ROLES
from tomoul.plan.key_access import NAME, key_access
from tomoul.plan.world import Key


async def reconcile_key_access(context: Context, key: Key) -> None:
    """Bring Role and RoleBinding of namespace `key.namespace` to what its Tenants say; without any, remove both."""
    observed = context.observed
    wanted = key_access(observed.world(), key.namespace)
    try:
        for manifest in wanted:
            await ensure(observed, context.writer, "", manifest)
    except Forbidden as error:
        if NAMESPACE_ENDS in str(error):
            raise NotYetError(f"namespace {key.namespace} is being deleted") from error
        raise
    if not wanted:
        for resource in (ROLE_BINDINGS, ROLES):
            await remove(observed, context.writer, resource, Key(key.namespace, NAME))
