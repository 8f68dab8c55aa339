"""Consequences: what a diff means to who calls and to who pays, beside the objects that change.

Of what the plans alone say: what pods and nodes are doing meanwhile is not known here.
"""

from collections.abc import Iterator

from tomoul.api.region import RegionState
from tomoul.plan.call_effects import call_effects, forward_effects
from tomoul.plan.diff import WorldDiff
from tomoul.plan.effect import Consequence, Effect
from tomoul.plan.pod_effects import pod_effects
from tomoul.plan.tenant_effects import key_effects, tenant_effects
from tomoul.plan.world import World


def consequences(diff: WorldDiff, before: World, after: World) -> tuple[Consequence, ...]:
    """What is to be noticed of a diff, the weightiest first; what is the same in several regions is one."""
    found = [
        *_regions(before, after),
        *call_effects(diff, after),
        *forward_effects(diff, after),
        *pod_effects(diff, before, after),
        *tenant_effects(diff),
        *key_effects(diff),
    ]
    places: dict[tuple[Effect, str, str], list[str]] = {}
    for effect, subject, regions, message in found:
        places.setdefault((effect, subject, message), []).extend(regions)
    order = list(Effect)
    merged = [
        Consequence(effect, subject, tuple(dict.fromkeys(regions)), message)
        for (effect, subject, message), regions in places.items()
    ]
    return tuple(sorted(merged, key=lambda each: (order.index(each.effect), each.subject, each.regions)))


def _regions(before: World, after: World) -> Iterator[Consequence]:
    for name in sorted({*before.regions, *after.regions}):
        old, new = before.regions.get(name), after.regions.get(name)
        subject = f"region {name}"
        if old is not None and new is None:
            yield Consequence(
                Effect.REGION_STATE, subject, (), "is no region any more: calls pinned to it get 400 `unknown_region`"
            )
        elif old is not None and new is not None and old.spec.state is not new.spec.state:
            gets = "calls pinned to it get 503 `region_capacity_unavailable`"
            means = f": {gets}" if new.spec.state is RegionState.DISABLED else ""
            yield Consequence(Effect.REGION_STATE, subject, (), f"{old.spec.state} → {new.spec.state}{means}")
