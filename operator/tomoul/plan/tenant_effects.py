"""What a diff means to tenants: which keys work, what they reach, and which Secrets gateways read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tomoul.plan.diff import WorldDiff
from tomoul.plan.effect import Consequence, Effect, words
from tomoul.plan.planner import DesiredState


def tenant_effects(diff: WorldDiff) -> Iterator[Consequence]:
    """Of each tenant that was there before, region by region."""
    for region in diff.regions:
        old, new = _entries(diff.old, region.region), _entries(diff.new, region.region)
        if old is None or new is None:
            continue
        for name in sorted({*old, *new}):
            subject = f"tenant {name[0]}/{name[1]}"
            if name not in new:
                yield Consequence(Effect.TENANT_CHANGED, subject, (region.region,), "is gone: its keys get 401")
                continue
            if name not in old:
                continue
            was, becomes = old[name], new[name]
            if was["secretName"] != becomes["secretName"]:
                message = f"its keys are those of Secret `{becomes['secretName']}`: all others get 401"
                yield Consequence(Effect.TENANT_CHANGED, subject, (region.region,), message)
            for field in ("regions", "models"):
                if (less := _lost(was.get(field, ()), becomes.get(field, ()))) is not None:
                    message = (
                        f"may not use {field} {less}"
                        if less
                        else f"may use these {field} alone: {words(becomes[field])}"
                    )
                    yield Consequence(Effect.TENANT_CHANGED, subject, (region.region,), message)
            if becomes.get("requireRegion") and not was.get("requireRegion"):
                message = "must name a region: its calls that name none get 400 `region_required`"
                yield Consequence(Effect.TENANT_CHANGED, subject, (region.region,), message)
            limits = {*was.get("limits", {}), *becomes.get("limits", {})}
            for field in sorted(limits):
                before, limit = (entry.get("limits", {}).get(field) for entry in (was, becomes))
                if before != limit:
                    message = f"{field}: {_limit(before)} → {_limit(limit)}"
                    yield Consequence(Effect.TENANT_CHANGED, subject, (region.region,), message)


def _limit(value: int | None) -> str:
    return "no limit" if value is None else str(value)


def _lost(was: Sequence[str], becomes: Sequence[str]) -> str | None:
    """Names that are no longer listed; empty where all were allowed, and None where nothing was taken away."""
    if not becomes:
        return None
    if not was:
        return ""
    return words([name for name in was if name not in becomes]) or None


def _entries(state: DesiredState, region: str) -> Mapping[tuple[str, str], Mapping[str, Any]] | None:
    """Tenants by namespace and name; None where the region has no table."""
    table = state.tables.get(region)
    if table is None:
        return None
    return {(entry["namespace"], entry["name"]): entry for entry in table["spec"].get("tenants", ())}


def key_effects(diff: WorldDiff) -> Iterator[Consequence]:
    """Which Secrets gateways may read, and may not any more."""
    old, new = _readable(diff.old), _readable(diff.new)
    for namespace, name in sorted({*old, *new}):
        if ((namespace, name) in old) != ((namespace, name) in new):
            message = "gateways may read it" + ("" if (namespace, name) in new else " no more")
            yield Consequence(Effect.KEYS_READ, f"secret {namespace}/{name}", (), message)


def _readable(state: DesiredState) -> set[tuple[str, str]]:
    return {
        (obj["metadata"]["namespace"], name)
        for obj in state.objects
        if obj["kind"] == "Role"
        for rule in obj["rules"]
        for name in rule["resourceNames"]
    }
