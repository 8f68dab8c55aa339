"""What `tomoul plan` finds wrong, each with its file and field, and what it remarks on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tomoul.api.conditions import Reason
from tomoul.api.fielderror import FieldError
from tomoul.api.transition import forbidden_changes
from tomoul.cli.planned_files import Files
from tomoul.plan.acceptance import accepted_regions, refusals, unrouted_aliases
from tomoul.plan.claims import claims
from tomoul.plan.engines.version import contradiction
from tomoul.plan.tenant import tenant_accepted
from tomoul.plan.world import Key, World

Forbidden = Mapping[Key, Sequence[FieldError]]
"""Of ModelDeployments that change what cannot be changed: what."""


def forbidden(before: World, after: World) -> Forbidden:
    """What the API server refuses of `after` since it is not as in `before`."""
    found = {
        key: forbidden_changes(before.models[key], model)
        for key, model in sorted(after.models.items())
        if key in before.models
    }
    return {key: errors for key, errors in found.items() if errors}


def errors_of(files: Files, unchangeable: Forbidden) -> list[str]:
    """All that an API server, by what is `unchangeable` too, or the operator refuses of `files`."""
    changed = [
        f"{_where(files, 'ModelDeployment', key)}: {error}" for key, errors in unchangeable.items() for error in errors
    ]
    return [*changed, *_refused(files), *_refused_tenants(files)]


def remarks_on(files: Files) -> list[str]:
    """What refuses nothing and is easily missed: aliases that mean another model, an image of another version."""
    owners = claims(files.world.models)
    found = []
    for key, model in sorted(files.world.models.items()):
        where = _where(files, "ModelDeployment", key)
        if version := contradiction(model.spec):
            found.append(f"{where}: {version}")
        found += [
            f"{where}: {region}: {aliases}"
            for region in accepted_regions(files.world, key, owners)
            if (aliases := unrouted_aliases(model, region, owners))
        ]
    return found


def taken(before: World, after: World, unchangeable: Forbidden) -> World:
    """`after` as the API server would have it: an object that changes what cannot be changed stays as it was."""
    return replace(after, models={**after.models, **{key: before.models[key] for key in unchangeable}})


def unknown_hosted(hosted: Sequence[str], *worlds: World) -> list[str]:
    """Regions that are said to be hosted and are in no file."""
    known = sorted({name for world in worlds for name in world.regions})
    return [
        f"--hosted: Region `{name}` does not exist; use one of: {', '.join(known)}"
        for name in hosted
        if name not in known
    ]


def _where(files: Files, kind: str, key: Key) -> str:
    return f"{files.origins[kind, key]}: {kind} {key.namespace}/{key.name}"


def _refused(files: Files) -> list[str]:
    """Models that no operator would accept."""
    owners = claims(files.world.models)
    found: dict[str, None] = {}
    for key in sorted(files.world.models):
        for refusal in refusals(files.world, key, owners).values():
            if refusal is not None and refusal.reason is not Reason.REGION_DISABLED:
                found[f"{_where(files, 'ModelDeployment', key)}: {refusal.field}: {refusal.message}"] = None
    return list(found)


def _refused_tenants(files: Files) -> list[str]:
    """Tenants that name what does not exist."""
    owners = claims(files.world.models)
    found = []
    for key in sorted(files.world.tenants):
        accepted = tenant_accepted(files.world, key, owners)
        if accepted.status != "True":
            found.append(f"{_where(files, 'Tenant', key)}: {accepted.message}")
    return found
