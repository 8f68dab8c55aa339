"""Shards that would lose most of a region's routes, each of them only some."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from tomoul.controller.context import Context
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.shrink import confirmed_tables
from tomoul.kube.errors import NotFound, Unavailable
from tomoul.kube.resources import Resource
from tomoul.plan.settings import Settings
from tomoul.plan.shards import shard_names
from tomoul.plan.tables import plan_tables
from tomoul.plan.world import Key

Object = dict[str, Any]
MODELS = 30


class Server:
    """An API server that lists what there is, or nothing."""

    def __init__(self, items: list[Object]) -> None:
        self.items = items
        self.lists = 0
        self.away = False

    async def pages(self, resource: Resource, **_unused: object) -> AsyncIterator[Any]:
        if self.away:
            raise Unavailable("it is away")
        self.lists += 1
        found = [item for item in self.items if item["kind"] == resource.kind]
        yield SimpleNamespace(resource_version="1000", items=found)

    async def get(self, _resource: Resource, key: Key) -> Object:
        for item in self.items:
            if item["metadata"]["name"] == key.name:
                return item
        raise NotFound(key.name)


class Operator:
    """What an operator knows of a region whose models are in shards, and what the API server has."""

    def __init__(self) -> None:
        self.observed = Observed(Settings(routes_per_table=4))
        self.version = 0
        region: Object = {"kind": "Region", "metadata": {"name": "eu", "uid": "r"}, "spec": {"placement": {}}}
        self.models = [_model(f"m{number}") for number in range(MODELS)]
        for item in (region, *self.models):
            self.see(item)
        self.server = Server([region, *self.models])
        self.metrics = Metrics()
        self.told: list[str] = []
        self.context: Context = SimpleNamespace(  # type: ignore[assignment]
            observed=self.observed,
            client=self.server,
            metrics=self.metrics,
            triggers=SimpleNamespace(withheld=self.told.append),
            recorder=SimpleNamespace(offer=lambda about, events: None),
        )
        plan = plan_tables(self.observed.world(), "eu")
        assert plan is not None
        for name in plan.tables:
            self.write(name, plan.tables[name])

    def see(self, item: Object, gone: bool = False) -> None:
        self.version += 1
        item["metadata"] |= {"resourceVersion": str(self.version), "generation": 1}
        item.setdefault("apiVersion", "tomoul.ai/v1alpha1")
        store = next(store for resource, store in self.observed.stores.items() if resource.kind == item["kind"])
        (store.remove if gone else store.put)(item)

    def write(self, name: str, manifest: Any) -> None:
        self.see({**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-{name}"}})

    async def publish(self, name: str) -> int:
        """How many routes are left in a shard once it is brought up to date."""
        plan = await confirmed_tables(self.context, name, "r")
        assert plan is not None
        assert list(plan.tables) == [name]
        self.write(name, plan.tables[name])
        return len(plan.tables[name]["spec"]["models"])


def _model(name: str) -> Object:
    return {
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "m", "uid": name},
        "spec": {
            "model": {"id": f"org/{name}"},
            "source": {"file": {"path": "/m.gguf"}},
            "engine": {"type": "LlamaCpp"},
            "regions": [{"name": "eu"}],
        },
    }


async def test_shards_whose_models_have_vanished_from_view_are_published_with_those_that_are_there() -> None:
    operator = Operator()
    for item in operator.models:
        operator.see(item, gone=True)
    assert sum([await operator.publish(name) for name in shard_names("eu")]) == MODELS
    assert operator.metrics.registry.get_sample_value("tomoul_tables_withheld_total", {"region": "eu"}) == 1


async def test_models_that_are_gone_are_confirmed_once_and_not_for_each_shard() -> None:
    operator = Operator()
    for item in operator.models:
        operator.see(item, gone=True)
    operator.server.items = operator.server.items[:1]
    assert sum([await operator.publish(name) for name in shard_names("eu")]) == 0
    assert operator.server.lists == 2, "of ModelDeployments and of Regions"
    for item in operator.models:
        operator.see(item)
    operator.server.items += operator.models
    assert sum([await operator.publish(name) for name in shard_names("eu")]) == MODELS
    for item in operator.models:
        operator.see(item, gone=True)
    assert sum([await operator.publish(name) for name in shard_names("eu")]) == MODELS, "what was confirmed was before"


async def test_while_nobody_can_confirm_it_no_shard_loses_anything_and_the_region_says_so() -> None:
    operator = Operator()
    for item in operator.models:
        operator.see(item, gone=True)
    operator.server.away = True
    for name in shard_names("eu"):
        if operator.observed.world().facts.tables[name].spec.models:
            with pytest.raises(Unavailable):
                await operator.publish(name)
            assert f"would lose {MODELS} of {MODELS} routes" in operator.observed.withheld[name]
    assert set(operator.told) == {"eu"}


async def test_few_that_go_are_nobodys_concern() -> None:
    operator = Operator()
    for item in operator.models[: MODELS // 2]:
        operator.see(item, gone=True)
    assert sum([await operator.publish(name) for name in shard_names("eu")]) == MODELS // 2
    assert operator.server.lists == 0
