"""Precedence: pods with a prompt cache come only once the gateways keep apart what it must keep apart.

A gateway that goes by an older route, since its table is withheld, refused or on its way, would send them calls without
a salt, and `no-store` calls as if nothing were cached. The other way round the route waits for the pods:
`plan/promptcache.py`.
"""

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import ModelRoute
from tomoul.plan.claims import Claims
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.gateways import programmed
from tomoul.plan.promptcache import cache_of
from tomoul.plan.refused import said_of
from tomoul.plan.rollout import Awaits
from tomoul.plan.routing import model_route
from tomoul.plan.world import DeploymentFact, Manifest, World
from tomoul.plan.written import written_route


def awaited_gateways(world: World, model: ModelDeployment, region: Region, claims: Claims) -> Awaits:
    """What revisions of a model in a region wait for, by their templates and what there is of their pools."""
    name = region.metadata.name

    def awaits(template: Manifest, fact: DeploymentFact) -> str:
        last = written_route(world, name, model.spec.model.id, claims)
        if last is None or not _asks_more(model, last, template, fact):
            return ""
        ids = (model.spec.model.id, *(adapter.id for adapter in model.spec.adapters))
        routes = [route for each in ids if (route := model_route(world, each, name, claims)) is not None]
        verdict = programmed(world, name, routes, said_of(model, name).programmed_route, claims, ())
        if verdict.status == "True" or verdict.reason is Reason.NO_LIVE_GATEWAY:
            return ""
        return f"its pods have a prompt cache, and gateways must know of it first: {verdict.message}"

    return awaits


def _asks_more(model: ModelDeployment, last: ModelRoute, template: Manifest, fact: DeploymentFact) -> bool:
    """Whether pods of a template ask of gateways what those that there are do not."""
    new = cache_of(template)
    if new == "none":
        return False
    salt = engine_of(model.spec).body_fields(model.spec).salt
    renamed = new == "salted" and (last.cache.salt_field != salt or bool(last.cache.former_salt_fields))
    return renamed or new != fact.prompt_cache
