"""A table that is made in steps is one of a single moment."""

import asyncio
from typing import Any

from tomoul.controller.observed import Observed
from tomoul.controller.planned_table import planned_table
from tomoul.kube.resources import MODEL_DEPLOYMENTS, REGIONS
from tomoul.plan.routing import plan_routing_table
from tomoul.plan.world import Settings

MODELS = 120
"""More than two steps."""


def metadata(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "uid": name, "generation": version, "resourceVersion": str(version), **more}


def model(number: int, version: int, *aliases: str) -> dict[str, Any]:
    return {
        "apiVersion": MODEL_DEPLOYMENTS.api_version,
        "kind": MODEL_DEPLOYMENTS.kind,
        "metadata": metadata(f"m{number:03}", version, namespace="models"),
        "spec": {
            "model": {"id": f"acme/m{number:03}", "aliases": aliases},
            "engine": {"type": "LlamaCpp"},
            "source": {"file": {"path": "/models/tiny.gguf"}},
            "resources": {"cpu": "1", "memory": "1Gi"},
            "regions": [{"name": "eu", "replicas": 1}],
        },
    }


def observed() -> Observed:
    found = Observed(Settings())
    region = {"apiVersion": REGIONS.api_version, "kind": REGIONS.kind, "metadata": metadata("eu", 1), "spec": {}}
    found.regions.put(region)
    for number in range(MODELS):
        found.models.put(model(number, 1, *(["chat"] if number == 0 else [])))
    return found


async def test_others_work_while_a_table_is_made_and_it_is_that_of_one_go() -> None:
    found = observed()
    making = asyncio.create_task(planned_table(found, "eu"))
    turns = 0
    while not making.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > MODELS // 50
    table = plan_routing_table(found.world(), "eu", found.claims())
    assert table is not None
    assert len(table["spec"]["models"]) == MODELS
    assert making.result() == table


async def test_an_alias_that_moves_while_a_table_is_made_is_not_in_it_twice() -> None:
    found = observed()
    making = asyncio.create_task(planned_table(found, "eu"))
    await asyncio.sleep(0)  # the first step, with the alias
    found.models.put(model(0, 2))
    found.models.put(model(MODELS - 1, 2, "chat"))
    table = await making
    assert table == plan_routing_table(found.world(), "eu", found.claims())
    assert table is not None
    assert [route["id"] for route in table["spec"]["models"] if route.get("aliases")] == [f"acme/m{MODELS - 1:03}"]


async def test_a_region_that_is_not_there_has_no_table() -> None:
    assert await planned_table(observed(), "us") is None
