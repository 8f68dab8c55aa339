"""Acceptance: which ModelDeployments may run in which regions, and why not."""

from collections.abc import Iterable, Mapping

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.region import Accelerator, Region, RegionState
from tomoul.plan.claims import Claim, Claims, NameKind
from tomoul.plan.engines.base import Refusal
from tomoul.plan.engines.registry import engine_of
from tomoul.plan.engines.version import contradiction
from tomoul.plan.jurisdiction import jurisdiction_refusal, source_refusal
from tomoul.plan.multinode import engine_refusal, missing_refusal
from tomoul.plan.unreadable import unreadable_rival
from tomoul.plan.world import Key, World


def refusals(world: World, key: Key, claims: Claims) -> Mapping[str, Refusal | None]:
    """For each region of a ModelDeployment, in its order, why it is not accepted there, or None if it is."""
    model = world.models[key]
    everywhere = engine_of(model.spec).refusal(model.spec) or engine_refusal(model.spec)
    return {
        target.name: everywhere or _region_refusal(world, key, model, index, claims)
        for index, target in enumerate(model.spec.regions)
    }


def accepted_regions(world: World, key: Key, claims: Claims) -> tuple[str, ...]:
    """Regions in which a ModelDeployment is accepted, sorted; hosted here or not."""
    return tuple(sorted(name for name, refusal in refusals(world, key, claims).items() if refusal is None))


def remarks(model: ModelDeployment, region: str, claims: Claims) -> str:
    """What its author should look at of a model that is accepted in `region`; empty if there is nothing."""
    return "; ".join(filter(None, (contradiction(model.spec), unrouted_aliases(model, region, claims))))


def unrouted_aliases(model: ModelDeployment, region: str, claims: Claims) -> str:
    """Which aliases of an accepted model mean another one in `region`, and why; empty if all are its own.

    They do not refuse the model: what it serves under its id is not theirs to stop.
    """
    key = Key(model.metadata.namespace, model.metadata.name)
    found = []
    for index, alias in enumerate(model.spec.model.aliases):
        rival = _rival(key, alias, region, claims)
        if rival is not None:
            whose = _whose(rival, NameKind.ALIAS)
            found.append(f"spec.model.aliases[{index}]: `{alias}` is not routed here: it is {whose}; remove it")
    return "; ".join(found)


def accelerator_of(spec: ModelDeploymentSpec, region: Region) -> Accelerator | None:
    """The region's accelerator that the spec asks for; None for CPU only, and where the region lacks it."""
    by_name = {accelerator.name: accelerator for accelerator in region.spec.placement.accelerators}
    return by_name.get(spec.resources.accelerator or "")


def _region_refusal(world: World, key: Key, model: ModelDeployment, index: int, claims: Claims) -> Refusal | None:
    name = model.spec.regions[index].name
    region = world.regions.get(name)
    if name in world.unreadable_regions:
        message = f"Region `{name}` cannot be read by this version of the operator: what runs there goes on as it is"
        return Refusal(Reason.UNREADABLE_REGION, f"spec.regions[{index}].name", message)
    if region is None:
        message = f"Region `{name}` does not exist; {_one_of(world.regions, 'create it')}"
        return Refusal(Reason.UNKNOWN_REGION, f"spec.regions[{index}].name", message)
    if region.metadata.deletion_timestamp is not None:
        # Its gateways may take minutes to drain; nobody is to be sent there meanwhile.
        message = f"Region `{name}` is being deleted: nothing runs there"
        return Refusal(Reason.UNKNOWN_REGION, f"spec.regions[{index}].name", message)
    if region.spec.state is RegionState.DISABLED:
        message = f"Region `{name}` is Disabled: nothing runs there"
        return Refusal(Reason.REGION_DISABLED, f"spec.regions[{index}].name", message)
    if (forbidden := jurisdiction_refusal(world, key.namespace, region)) is not None:
        return Refusal(Reason.JURISDICTION_FORBIDDEN, f"spec.regions[{index}].name", forbidden)
    if (kept := source_refusal(model.spec.source, region)) is not None:
        return Refusal(Reason.JURISDICTION_FORBIDDEN, "spec.source.jurisdiction", kept)
    for place, adapter in enumerate(model.spec.adapters):
        if (kept := source_refusal(adapter.source, region)) is not None:
            field = f"spec.adapters[{place}].source.jurisdiction"
            return Refusal(Reason.JURISDICTION_FORBIDDEN, field, kept)
    if model.spec.resources.accelerator is not None and accelerator_of(model.spec, region) is None:
        names = [accelerator.name for accelerator in region.spec.placement.accelerators]
        hint = _one_of(names, "leave it out to run on CPUs")
        message = f"Region `{name}` has no accelerator `{model.spec.resources.accelerator}`; {hint}"
        return Refusal(Reason.UNKNOWN_ACCELERATOR, "spec.resources.accelerator", message)
    if world.settings.hosts(name) and (missing := missing_refusal(model.spec, world.facts)) is not None:
        return missing
    return _conflict(world, key, model, name, claims)


def _conflict(world: World, key: Key, model: ModelDeployment, region: str, claims: Claims) -> Refusal | None:
    """Why what the model and its adapters are called is not theirs in a region, or None if all of it is."""
    names = {"spec.model.id": (model.spec.model.id, NameKind.ID)} | {
        f"spec.adapters[{index}].id": (adapter.id, NameKind.ADAPTER)
        for index, adapter in enumerate(model.spec.adapters)
    }
    for field, (name, kind) in names.items():
        if (unread := unreadable_rival(world, name)) is not None:
            message = (
                f"ModelDeployment `{unread.namespace}/{unread.name}`, which this version of the operator cannot read, "
                "has the same id: what runs goes on as it is"
            )
            return Refusal(Reason.MODEL_ID_CONFLICT, field, message)
        rival = _rival(key, name, region, claims)
        if rival is not None and rival.kind is NameKind.ID and kind is NameKind.ID:
            message = (
                f"`{name}` is served in region `{region}` by {_named(rival)}, which is older; "
                "use another id, or remove the region"
            )
            return Refusal(Reason.MODEL_ID_CONFLICT, field, message)
        if rival is not None:
            message = f"`{name}` is, in region `{region}`, {_whose(rival, kind)}; use another id, or remove the region"
            return Refusal(Reason.MODEL_ID_CONFLICT, field, message)
    return None


def _whose(rival: Claim, kind: NameKind) -> str:
    """What a name is to another ModelDeployment, in whose favour it was decided against one that is `kind`."""
    what = {NameKind.ID: "the id", NameKind.ADAPTER: "an adapter", NameKind.ALIAS: "an alias"}[rival.kind]
    return f"{what} of {_named(rival)}" + (", which is older" if rival.kind is kind else "")


def _rival(key: Key, name: str, region: str, claims: Claims) -> Claim | None:
    owner = claims.owner(region, name)
    return None if owner is None or owner.key == key else owner


def _named(claim: Claim) -> str:
    return f"ModelDeployment `{claim.key.namespace}/{claim.key.name}`"


def _one_of(names: Iterable[str], otherwise: str) -> str:
    known = sorted(names)
    return f"use one of: {', '.join(known)}" if known else f"there is none; {otherwise}"
