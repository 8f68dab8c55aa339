"""Pods with a prompt cache wait for gateways that go by the route of pods without one."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import KEY, model, world
from tests.plan.worlds import POOL, table
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus
from tomoul.api.routingtable import GatewayAcknowledgement
from tomoul.plan.model import plan_model
from tomoul.plan.naming import gateway_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.promptcache import cache_of
from tomoul.plan.revision import revision_of
from tomoul.plan.template import pod_template
from tomoul.plan.world import DeploymentFact, Facts, Key, World

GATEWAYS = Key("tomoul-system", gateway_name("eu-west"))
WITHOUT, WITH = {"mode": "Disabled"}, {"mode": "Tenant"}


def running(old: ModelDeployment, prompt_cache: str) -> World:
    """One pod of `old`, whose route both gateways have accepted."""
    bare = world(old)
    template = pod_template(old, bare.regions["eu-west"], "default", bare.settings)
    revision = revision_of(template)
    fact = DeploymentFact(
        1, 1, 1, 1, 1, 1, revision=revision, template=json.dumps(template), prompt_cache=cache_of(template)
    )
    pod = PodFact("p", "n", "Running", ready=True, scheduled=True, revision=revision, prompt_cache=prompt_cache)
    live = [PodFact(name, "n", "Running", ready=True, scheduled=True) for name in ("a", "b")]
    found = replace(bare, facts=Facts(deployments={POOL: fact}, pods={POOL: [pod], GATEWAYS: live}))
    return accepted(found, 5, a=5, b=5)


def accepted(found: World, generation: int, **gateways: int) -> World:
    """The region's table is written as it should be, and the gateways have accepted these generations."""
    said = [GatewayAcknowledgement(name=name, accepted_generation=number) for name, number in gateways.items()]
    written = table(found, generation, *said)
    found = replace(found, facts=replace(found.facts, tables={"eu-west": written}))
    return said_of(found, plan_model(found, KEY).status)


def said_of(found: World, status: ModelDeploymentStatus) -> World:
    return replace(found, models={KEY: found.models[KEY].model_copy(update={"status": status})})


def edited(found: World, new: ModelDeployment) -> World:
    return replace(found, models={KEY: found.models[KEY].model_copy(update={"spec": new.spec})})


def begun(found: World) -> bool:
    """Whether the Deployment gets the newest revision."""
    plan = plan_model(found, KEY)
    (made,) = [obj for obj in plan.objects if obj["kind"] == "Deployment"]
    return revision_of(made["spec"]["template"]) == rollout(found).revision


def rollout(found: World) -> Any:
    (row,) = plan_model(found, KEY).status.regions
    assert row.rollout is not None
    return row.rollout


def told(found: World) -> tuple[str, str, str]:
    (row,) = plan_model(found, KEY).status.regions
    (entry,) = [each for each in row.conditions if each.type == "WorkloadReady"]
    return entry.status, entry.reason, entry.message


def custom(salt: str) -> ModelDeployment:
    own = {"promptCache": "Salted", "saltField": salt}
    return model(engine={"type": "Custom", "image": "acme/engine:1", "args": [salt], "custom": own})


@pytest.mark.parametrize(
    ("old", "new", "before"),
    [
        (model(cache=WITHOUT), model(cache=WITH), "none"),
        (model(cache=WITHOUT), model(cache={"mode": "Shared"}), "none"),
        (model(engine="LlamaCpp", cache=WITHOUT), model(cache=WITH), "none"),
        (custom("old_salt"), custom("new_salt"), "salted"),
    ],
)
def test_pods_that_ask_more_of_gateways_come_once_every_live_one_has_the_route(
    old: ModelDeployment, new: ModelDeployment, before: str
) -> None:
    change = edited(running(old, before), new)
    assert not begun(change), "its table is not written yet"
    assert rollout(change).phase == "Progressing"
    assert rollout(change).reason == "NotBegun"
    assert told(change)[:2] == ("False", "RolloutInProgress")
    assert "gateways must know of it first" in told(change)[2]
    behind = accepted(change, 6, a=6, b=5)
    assert not begun(behind)
    assert "that have not accepted generation 6 of RoutingTable `eu-west`: `b`" in told(behind)[2]
    assert begun(accepted(change, 6, a=6, b=6))


@pytest.mark.parametrize(
    ("old", "new", "before"),
    [
        (model(cache=WITH), model(cache=WITHOUT), "salted"),
        (model(cache=WITH), model(cache=WITH, image="acme/engine:2"), "salted"),
        (model(cache=WITHOUT), model(cache=WITHOUT, image="acme/engine:2"), "none"),
    ],
)
def test_any_other_change_waits_for_no_gateway(old: ModelDeployment, new: ModelDeployment, before: str) -> None:
    assert begun(edited(running(old, before), new))


def test_where_no_gateway_lives_nobody_is_waited_for() -> None:
    found = edited(running(model(cache=WITHOUT), "none"), model(cache=WITH))
    pods = {key: pods for key, pods in found.facts.pods.items() if key != GATEWAYS}
    found = accepted(replace(found, facts=replace(found.facts, pods=pods)), 6)
    assert begun(found)


def test_a_table_that_others_change_again_and_again_holds_nothing_up_that_its_gateways_know() -> None:
    found = edited(running(model(cache=WITHOUT), "none"), model(cache=WITH))
    known = plan_model(replace(found, facts=accepted(found, 6, a=6, b=6).facts), KEY).status
    assert begun(accepted(said_of(found, known), 7, a=6, b=6))
