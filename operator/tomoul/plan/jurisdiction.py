"""Jurisdictions: where the models of a namespace may run, as the namespace's label says, and where weights may go.

The chart's ValidatingAdmissionPolicy refuses at once what is written against the label. The operator looks again,
because Regions and labels change after the models were written.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from tomoul.api.meta import LABEL_JURISDICTIONS
from tomoul.api.region import Region
from tomoul.api.source import Source
from tomoul.plan.world import World

SEPARATOR = "_"
"""Labels admit no comma, and jurisdictions no `_`."""


def allowed_jurisdictions(labels: Mapping[str, str]) -> AbstractSet[str] | None:
    """Jurisdictions that a namespace with these labels allows, or None if it allows all."""
    text = labels.get(LABEL_JURISDICTIONS)
    return None if text is None else frozenset(filter(None, text.split(SEPARATOR)))


def jurisdiction_refusal(world: World, namespace: str, region: Region) -> str | None:
    """Why no model of `namespace` may run in `region`, or None if it may."""
    allowed = world.jurisdictions.get(namespace)
    found = region.spec.jurisdiction
    if allowed is None or found in allowed:
        return None
    where = _where(region)
    only = ", ".join(f"`{name}`" for name in sorted(allowed)) or "none"
    return (
        f"Region `{region.metadata.name}` {where}; namespace `{namespace}` allows {only} by its label "
        f"`{LABEL_JURISDICTIONS}`: use a region of those, or have the label changed"
    )


def source_refusal(source: Source, region: Region) -> str | None:
    """Why weights must not be brought to `region`, or None if they may."""
    if not source.jurisdiction or source.jurisdiction == region.spec.jurisdiction:
        return None
    return (
        f"the weights must stay in jurisdiction `{source.jurisdiction}`, and Region `{region.metadata.name}` "
        f"{_where(region)}: take the region out of `spec.regions`, or use a source that may leave"
    )


def _where(region: Region) -> str:
    found = region.spec.jurisdiction
    return f"is in jurisdiction `{found}`" if found else "states no jurisdiction"
