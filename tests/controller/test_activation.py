"""The loop that wakes pools and puts them to sleep, while what scales changes under it."""

import asyncio
from types import SimpleNamespace

import pytest

from tomoul.api.scaling import Scaling
from tomoul.controller.observed import Observed
from tomoul.controller.scaling.activation import keep_activating
from tomoul.controller.scaling.sampler import Sampler
from tomoul.plan.scaling import ScaledPool
from tomoul.plan.world import Key, Manifest, Settings

NAMES = ("first", "second", "third")


def pool(name: str) -> ScaledPool:
    scaling = Scaling(min_replicas=1, max_replicas=5, target_in_flight=8, scale_down_seconds=60)
    return ScaledPool(Key("models", name), "eu-west", f"acme/{name}", "default", scaling)


def asleep(name: str, version: int) -> dict[str, object]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "models", "uid": f"uid-of-{name}", "resourceVersion": str(version)},
        "spec": {"replicas": 0},
    }


async def test_a_pool_whose_scaling_is_taken_away_while_another_is_woken_is_passed_over() -> None:
    observed = Observed(Settings())
    for version, name in enumerate(NAMES, 1):
        observed.deployments.put(asleep(name, version))
    sampler = Sampler(observed)
    sampler.pools = {each.key: each for each in map(pool, NAMES)}
    woken: list[str] = []

    async def apply(manifest: Manifest, *, manager: str) -> None:
        woken.append(manifest["metadata"]["name"])
        # A sample is taken while the API server answers.
        sampler.pools = {key: each for key, each in sampler.pools.items() if key.name != "second"}

    context = SimpleNamespace(observed=observed, writer=SimpleNamespace(apply=apply))
    with pytest.raises(TimeoutError):  # it goes on for ever
        async with asyncio.timeout(0.1):
            await keep_activating(context, sampler, seconds=3600)  # type: ignore[arg-type]
    assert woken == ["first", "third"]
