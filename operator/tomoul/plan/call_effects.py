"""What a diff means to calls of a model: where they are answered, and which are refused."""

from collections.abc import Iterator, Mapping
from typing import Any

from tomoul.api.region import RegionState
from tomoul.plan.diff import WorldDiff, routes_of
from tomoul.plan.effect import Consequence, Effect, words
from tomoul.plan.planner import DesiredState
from tomoul.plan.world import World


def call_effects(diff: WorldDiff, after: World) -> Iterator[Consequence]:
    """Of each model, region by region."""
    names = [region.region for region in diff.regions]
    tables = {name: (routes_of(diff.old, name), routes_of(diff.new, name)) for name in names}
    old, new = (
        {model: route for name in reversed(names) for model, route in tables[name][side].items()} for side in (0, 1)
    )
    for model in sorted({*old, *new}):
        was, becomes = old.get(model), new.get(model)
        if becomes is None:
            assert was is not None
            yield Consequence(
                Effect.MODEL_GONE, model, (), "no region serves it any more: calls get 404 `model_not_found`"
            )
            continue
        for name in (name for name in becomes["regions"] if was is None or name not in was["regions"]):
            yield Consequence(Effect.MODEL_SERVED, model, (name,), "is served there from now on")
        if was is None:
            continue
        for name in (name for name in was["regions"] if name not in becomes["regions"]):
            if name not in after.regions or after.regions[name].spec.state is RegionState.DISABLED:
                continue  # what the region's own state says is enough
            rest = tables[name][1].get(model, becomes).get("fallback", ()) if name in tables else ()
            others = (
                f"others are answered by {words(rest)}"
                if rest
                else "so do others that arrive there: it has no fallback"
            )
            message = "is not served there any more: calls pinned to it get 404 `model_not_available_in_region`, "
            yield Consequence(Effect.REGION_LOST, model, (name,), message + others)
        for name in names:
            if model not in tables[name][0] or name not in diff.new.tables:
                continue
            if model not in tables[name][1]:
                yield _taken(model, name, tables[name][1])
                continue
            routes = tables[name][0][model], tables[name][1][model]
            yield from _arrivals(model, name, *routes)
            if name in becomes["regions"]:
                yield from _route(model, name, *routes)


def _taken(model: str, region: str, routes: Mapping[str, Mapping[str, Any]]) -> Consequence:
    """What calls get that arrive in a region whose gateways do not know the model any more, though others serve it."""
    other = next((name for name, route in routes.items() if model in route["aliases"]), None)
    if other is None:
        message = "is not known there any more: calls that arrive there get 404 `model_not_found`"
        return Consequence(Effect.CALLS_REFUSED, model, (region,), message)
    message = f"is an alias of `{other}` there: calls that arrive there are that model's"
    return Consequence(Effect.CALLS_MOVE, model, (region,), message)


def _arrivals(model: str, region: str, was: Mapping[str, Any], becomes: Mapping[str, Any]) -> Iterator[Consequence]:
    """What changes of calls that arrive in a region whose gateways know the model, served there or not."""
    for alias in (name for name in was["aliases"] if name not in becomes["aliases"]):
        yield Consequence(Effect.CALLS_REFUSED, model, (region,), f"`{alias}` is no name of it any more")
    serves = region in becomes["regions"]
    # Where a region must be named nothing falls back; one that begins or ceases to serve it is told of as that.
    if becomes.get("requireRegion") or serves != (region in was["regions"]):
        return
    if was.get("fallback", ()) != becomes.get("fallback", ()):
        old, new = (words(route.get("fallback", ())) or "no other region" for route in (was, becomes))
        whose = "and that it cannot answer, " if serves else "and arrive there, where it is not served, "
        message = f"calls that name no region, {whose}go to {new}; they went to {old}"
        yield Consequence(Effect.CALLS_MOVE, model, (region,), message)


def _route(model: str, region: str, was: Mapping[str, Any], becomes: Mapping[str, Any]) -> Iterator[Consequence]:
    """What changes of calls of a model in a region which goes on serving it."""
    refused = []
    fields = {"tools": "`tools`", "structuredOutput": "a JSON schema", "jsonMode": "JSON mode"}
    for name, what in fields.items():
        if was["capabilities"].get(name) and not becomes["capabilities"].get(name):
            refused.append(f"calls with {what}")
    if becomes.get("requireRegion") and not was.get("requireRegion"):
        refused.append("calls that name no region")
    if becomes["cache"]["noStore"] == "Refuse" != was["cache"]["noStore"]:
        refused.append("calls with `X-Tomoul-Cache: no-store`")
    for what in refused:
        yield Consequence(Effect.CALLS_REFUSED, model, (region,), f"refuses {what}")
    for field in ("requestSeconds", "idleSeconds"):
        before, limit = (route["timeouts"][field] for route in (was, becomes))
        if limit < before:
            message = f"ends calls by `timeouts.{field}` after {limit} s: it was {before} s"
            yield Consequence(Effect.CALLS_REFUSED, model, (region,), message)
    for field, what in (("mode", "who shares the prompt cache"), ("noStore", "what no-store gets")):
        if was["cache"][field] != becomes["cache"][field] and region in was["regions"]:
            message = f"{what}: {was['cache'][field]} → {becomes['cache'][field]}"
            yield Consequence(Effect.CACHE_CHANGED, model, (region,), message)


def forward_effects(diff: WorldDiff, after: World) -> Iterator[Consequence]:
    """Of calls that gateways of one region send on to those of another, whose address goes or changes."""
    for region in (each.region for each in diff.regions):
        old, new = _remotes(diff.old, region), _remotes(diff.new, region)
        for name in sorted(old.keys() & after.regions.keys()):
            if old[name] == new.get(name) or region not in diff.new.tables:
                continue
            subject, url = f"region {name}", new.get(name)
            if url is not None:
                message = f"calls that are sent on to it go to {url}; they went to {old[name]}"
                yield Consequence(Effect.CALLS_MOVE, subject, (region,), message)
            elif after.regions[name].spec.state is not RegionState.DISABLED:
                message = "has no `endpoint` any more: calls pinned to it that arrive there get 503 "
                yield Consequence(Effect.CALLS_REFUSED, subject, (region,), f"{message}`region_capacity_unavailable`")


def _remotes(state: DesiredState, region: str) -> Mapping[str, str]:
    """URLs of other regions' gateways, as the table of `region` has them."""
    table = state.tables.get(region)
    return {} if table is None else {each["region"]: each["url"] for each in table["spec"]["remoteGateways"]}
