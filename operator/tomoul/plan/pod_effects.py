"""What a diff means to pods: how many end, start, or are made anew."""

from collections.abc import Iterator, Mapping
from typing import Any

from tomoul.api.meta import (
    COMPONENT_ENGINE,
    COMPONENT_GATEWAY,
    LABEL_COMPONENT,
    LABEL_MODEL_DEPLOYMENT,
    LABEL_POOL,
    LABEL_PROMPT_CACHE,
    LABEL_REGION,
)
from tomoul.api.routingtable import PoolName
from tomoul.plan.capacity import Demand, replicas_of
from tomoul.plan.diff import Action, WorldDiff
from tomoul.plan.effect import Consequence, Effect
from tomoul.plan.planner import DesiredState, identity
from tomoul.plan.workload import POOLS
from tomoul.plan.world import Key, Manifest, World


def pod_effects(diff: WorldDiff, before: World, after: World) -> Iterator[Consequence]:
    """Of the Deployments and LeaderWorkerSets: how many pods end, start, or are made anew, and where none is left."""
    old, new = _runners(diff.old), _runners(diff.new)
    # Of what is refused, and so is not in the new plan, nothing is removed unless the diff says so.
    removed = {
        (change.kind, change.namespace, change.name)
        for region in diff.regions
        for change in region.objects
        if change.action is Action.REMOVE
    }
    for key in sorted({*old, *new}):
        was, becomes = old.get(key), new.get(key)
        if becomes is None and key[1:] not in removed:
            continue
        obj = becomes or was or {}
        labels = obj["metadata"]["labels"]
        region, component = labels[LABEL_REGION], labels[LABEL_COMPONENT]
        if component == COMPONENT_GATEWAY:
            if was is not None and becomes is not None and _template(was) != _template(becomes):
                message = "its gateways' pods are replaced, one after another"
                yield Consequence(Effect.GATEWAYS_REPLACED, f"region {region}", (), message)
            continue
        owner = Key(obj["metadata"]["namespace"], labels[LABEL_MODEL_DEPLOYMENT])
        subject = f"ModelDeployment {owner.namespace}/{owner.name}"
        if was is None or becomes is None:
            count = _count(obj)
            effect = Effect.PODS_START if was is None else Effect.PODS_END
            if count != 0:
                yield Consequence(effect, subject, (region,), _what_happens(effect, count, obj))
            continue
        if _template(was) != _template(becomes):
            message = f"{_pods_of(_count(was), was)} {'is' if _count(was) == 1 else 'are'} replaced"
            yield Consequence(Effect.PODS_REPLACED, subject, (region,), message + _how(was, becomes, owner, after))
        pool = next((name for name in POOLS if name == labels[LABEL_POOL]), None)
        if pool is not None:
            had, wanted = (replicas_of(world.models[owner].spec, region, pool) for world in (before, after))
            yield from _recounted(had, wanted, pool, subject, region, obj)


def _recounted(
    was: Demand | None, becomes: Demand | None, pool: PoolName, subject: str, region: str, obj: Manifest
) -> Iterator[Consequence]:
    """What another number of pods means, whether it is fixed or goes by calls; None where nobody here knows it."""
    if was is None or becomes is None or was == becomes:
        return
    fewer = becomes.least < was.least or becomes.most < was.most
    effect = Effect.PODS_END if fewer else Effect.PODS_START
    fixed = was.least == was.most and becomes.least == becomes.most
    message = (
        _what_happens(effect, abs(was.most - becomes.most), obj)
        if fixed
        else f"{_pods_of(None, obj)}: {was} → {becomes}"
    )
    yield Consequence(effect, subject, (region,), message)
    if was.least and not becomes.least:
        calls = "with `X-Tomoul-Cache: no-store`" if pool == "no-store" else "pinned there"
        message = (
            f"may have no pod while nobody calls: the next call {calls} gets 503 `region_capacity_unavailable`"
            if becomes.most
            else f"has no pod any more: calls {calls} get 503 `region_capacity_unavailable`"
        )
        yield Consequence(Effect.CALLS_REFUSED, subject, (region,), message)


def _what_happens(effect: Effect, count: int | None, obj: Manifest) -> str:
    one = {Effect.PODS_END: "ends", Effect.PODS_START: "starts"}[effect]
    return f"{_pods_of(count, obj)} {one if count == 1 else one.removesuffix('s')}"


def _how(was: Manifest, becomes: Manifest, owner: Key, after: World) -> str:
    rollout = after.models[owner].spec.rollout
    first = f", first a canary of {rollout.canary.weight} % of the calls" if rollout.canary is not None else ""
    loaders = [_template(obj)["spec"].get("initContainers") for obj in (was, becomes)]
    anew = "; weights are brought anew" if loaders[0] != loaders[1] else ""
    had_cache = _template(was)["metadata"]["labels"].get(LABEL_PROMPT_CACHE) != "none"
    lost = ": what their prompt caches hold is lost" if had_cache else ""
    return f" (rollout {rollout.strategy}{first}){lost}{anew}"


def _runners(state: DesiredState) -> Mapping[tuple[str, str, str, str], Manifest]:
    return {
        identity(obj): obj
        for obj in state.objects
        if obj["kind"] in ("Deployment", "LeaderWorkerSet")
        and obj["metadata"]["labels"][LABEL_COMPONENT] in (COMPONENT_ENGINE, COMPONENT_GATEWAY)
    }


def _template(obj: Manifest) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = obj["spec"]
    found: Mapping[str, Any] = (
        spec["template"] if "template" in spec else spec["leaderWorkerTemplate"]["leaderTemplate"]
    )
    return found


def _count(obj: Manifest) -> int | None:
    """Replicas; None where an autoscaler sets them."""
    count: int | None = obj["spec"].get("replicas")
    return count


def _pods_of(count: int | None, obj: Manifest) -> str:
    what = "replica" if obj["kind"] == "LeaderWorkerSet" else "pod"
    return f"its {what}s" if count is None else f"{count} {what}{'' if count == 1 else 's'}"
