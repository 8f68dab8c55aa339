"""Worlds for tests, from the documents of a golden scenario's in.yaml.

Resources are written as in a cluster. Two more documents may follow. `settings:` sets fields of Settings. `facts:` says
what the cluster looks like: `pods` by the Deployment they belong to, written `models/tiny-chat/eu-west/default` or
`gateway/eu-west`; `deployments`, `group_sets` (LeaderWorkerSets) and `autoscalers` by the same; `apis` by the name of
their APIService; `nodes`; and `tables` by region, whose spec is the planned one unless `stale: true`, with a
`generation` and the gateways' acknowledgements. A `revision: wanted` of a Deployment or a pod is that of the spec, and
`image` says from which image another revision of a Deployment was made. `canaries` are counts by their Deployments.
`programmed` lists routes, such as `models/tiny-chat/eu-west`, that the status says the gateways have acknowledged.
"""

import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.plan.specs import planned_table
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import RegionModelStatus
from tomoul.api.region import Region
from tomoul.api.routingtable import GatewayAcknowledgement, GatewayAuth, PoolName, RoutingTable
from tomoul.api.tenant import Tenant
from tomoul.plan.claims import claims
from tomoul.plan.gateway_overlay import GatewayOverlay
from tomoul.plan.groups import pool_template
from tomoul.plan.isolation import isolated
from tomoul.plan.jurisdiction import allowed_jurisdictions
from tomoul.plan.naming import gateway_name, pool_name
from tomoul.plan.podfact import ContainerFact, PodFact, Termination
from tomoul.plan.promptcache import cache_of
from tomoul.plan.revision import revision_of
from tomoul.plan.routing import model_route, route_hash
from tomoul.plan.settings import Settings
from tomoul.plan.world import (
    ApiFact,
    AutoscalerFact,
    CallCounts,
    CanaryFact,
    DeploymentFact,
    Facts,
    Key,
    NodeFact,
    Taint,
    World,
)


def load_world(path: Path) -> World:
    """The world that an in.yaml describes."""
    return world_of(yaml.safe_load_all(path.read_text()))


def world_of(documents: Iterable[Mapping[str, Any]]) -> World:
    """The world that the documents describe."""
    regions: dict[str, Region] = {}
    models: dict[Key, ModelDeployment] = {}
    tenants: dict[Key, Tenant] = {}
    jurisdictions: dict[str, AbstractSet[str]] = {}
    settings: Mapping[str, Any] = {}
    facts: Mapping[str, Any] = {}
    for document in documents:
        match document:
            case {"kind": "Region"}:
                region = Region.model_validate(document)
                regions[region.metadata.name] = region
            case {"kind": "ModelDeployment"}:
                model = ModelDeployment.model_validate(document)
                models[Key(model.metadata.namespace, model.metadata.name)] = model
            case {"kind": "Tenant"}:
                tenant = Tenant.model_validate(document)
                tenants[Key(tenant.metadata.namespace, tenant.metadata.name)] = tenant
            case {"settings": found}:
                settings = found
            case {"facts": found}:
                facts = found
            case {"kind": "Namespace", "metadata": metadata}:
                if (allowed := allowed_jurisdictions(metadata.get("labels") or {})) is not None:
                    jurisdictions[metadata["name"]] = allowed
            case _:
                raise AssertionError(f"what is this document? {document}")
    decided = _settings(settings)
    run = {key: isolated(each, decided) for key, each in models.items()}
    world = World(settings=decided, regions=regions, models=run, tenants=tenants, jurisdictions=jurisdictions)
    world = replace(world, facts=_facts(facts, world))
    for name in facts.get("programmed", ()):
        world = _with_programmed(world, *name.split("/"))
    return world


def _settings(found: Mapping[str, Any]) -> Settings:
    hosted = found.get("hosted_regions")
    decided = {
        "gateway_auth": GatewayAuth(found.get("gateway_auth", GatewayAuth.NONE)),
        "hosted_regions": frozenset(hosted) if hosted is not None else None,
        "gateway_overlay": GatewayOverlay.model_validate(found.get("gateway_overlay", {})),
    }
    return Settings(**{**found, **decided})


def _facts(found: Mapping[str, Any], world: World) -> Facts:
    known = {"deployments", "group_sets", "pods", "nodes", "tables", "programmed", "autoscalers", "apis", "canaries"}
    assert found.keys() <= known
    return Facts(
        deployments={
            _key(name, world): DeploymentFact(**_revised(fact, name, world))
            for name, fact in found.get("deployments", {}).items()
        },
        group_sets={
            _key(name, world): DeploymentFact(**_revised(fact, name, world))
            for name, fact in found.get("group_sets", {}).items()
        },
        pods={
            _key(name, world): [_pod(**_revised(pod, name, world)) for pod in pods]
            for name, pods in found.get("pods", {}).items()
        },
        nodes=[
            NodeFact(**{**node, "taints": [Taint(**taint) for taint in node.get("taints", ())]})
            for node in found.get("nodes", ())
        ],
        canaries={
            _key(name, world): CanaryFact(
                **_revised({**fact, **{side: CallCounts(**fact[side]) for side in ("canary", "stable")}}, name, world)
            )
            for name, fact in found.get("canaries", {}).items()
        },
        tables={name: _table(world, name, **fact) for name, fact in found.get("tables", {}).items()},
        autoscalers={_key(name, world): AutoscalerFact(**fact) for name, fact in found.get("autoscalers", {}).items()},
        apis={name: _api(**fact) for name, fact in found.get("apis", {}).items()},
    )


def _pod(containers: Iterable[Mapping[str, Any]] = (), **fields: Any) -> PodFact:
    return PodFact(**fields, containers=[_container(**each) for each in containers])


def _container(ended: Mapping[str, Any] | None = None, **fields: Any) -> ContainerFact:
    return ContainerFact(**fields, ended=Termination(**ended) if ended is not None else None)


def _api(service: str = "") -> ApiFact:
    return ApiFact(Key(*service.split("/")) if service else None)


def _key(name: str, world: World) -> Key:
    parts = name.split("/")
    if parts[0] == "gateway":
        return Key(world.settings.namespace, gateway_name(parts[1]))
    namespace, model, region, pool = parts
    return Key(namespace, pool_name(model, region, pool))


def _revised(fact: Mapping[str, Any], name: str, world: World) -> Mapping[str, Any]:
    if fact.get("revision") != "wanted" and "image" not in fact:
        return fact
    namespace, model, region, pool = name.split("/")
    found = world.models[Key(namespace, model)]
    fact = dict(fact)
    if "image" in fact:
        engine = found.spec.engine.model_copy(update={"image": fact.pop("image")})
        found = found.model_copy(update={"spec": found.spec.model_copy(update={"engine": engine})})
    # A canary's template has the revision of the pool that it may take over.
    of: PoolName = "no-store" if pool == "no-store" else "default"
    template = pool_template(found, world.regions[region], of, world.settings)
    fact["revision"] = revision_of(template)
    applied = {"template": json.dumps(template), "prompt_cache": cache_of(template)}
    return fact | (applied if "updated" in fact else {})


def _table(
    world: World, region: str, *, generation: int, gateways: Iterable[Mapping[str, Any]] = (), stale: bool = False
) -> RoutingTable:
    planned = planned_table(replace(world, models={}) if stale else world, region)
    assert planned is not None
    metadata = {**planned["metadata"], "generation": generation}
    return RoutingTable.model_validate({**planned, "metadata": metadata, "status": {"gateways": list(gateways)}})


def _with_programmed(world: World, namespace: str, name: str, region: str) -> World:
    key = Key(namespace, name)
    model = world.models[key]
    route = model_route(world, model.spec.model.id, region, claims(world.models))
    assert route is not None
    row = RegionModelStatus(name=region, programmed_route=route_hash(route))
    status = model.status.model_copy(update={"regions": (*model.status.regions, row)})
    return replace(world, models={**world.models, key: model.model_copy(update={"status": status})})


POOL = Key("models", pool_name("chat", "eu-west", "default"))


def table(found: World, generation: int, *gateways: GatewayAcknowledgement) -> RoutingTable:
    planned = planned_table(found, "eu-west")
    assert planned is not None
    metadata = planned["metadata"] | {"generation": generation}
    read = RoutingTable.model_validate(planned | {"metadata": metadata})
    return read.model_copy(update={"status": read.status.model_copy(update={"gateways": gateways})})
