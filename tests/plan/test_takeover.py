"""What a route says while pods of two revisions answer: what both can do, and what neither may be told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import KEY, model, world
from tests.plan.worlds import POOL, table
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.routingtable import GatewayAuth, ModelRoute
from tomoul.plan.claims import claims
from tomoul.plan.model import plan_model
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.routing import model_route
from tomoul.plan.running import wanted_revision
from tomoul.plan.settings import Settings
from tomoul.plan.world import DeploymentFact, Facts, Key, World


def routed(found: World) -> ModelRoute:
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    return route


def fact(deployment: ModelDeployment) -> DeploymentFact:
    found = world(deployment)
    revision = wanted_revision(found, deployment, found.regions["eu-west"], "default")
    return DeploymentFact(1, 1, replicas=1, updated=1, ready=1, total=1, revision=revision)


def pod(deployment: ModelDeployment, prompt_cache: str, **fields: Any) -> PodFact:
    name = f"of-{deployment.spec.engine.type}"
    return PodFact(name, ready=True, revision=fact(deployment).revision, prompt_cache=prompt_cache, **fields)


def rolling(old: ModelDeployment, new: ModelDeployment, before: str, after: str) -> Mapping[str, World]:
    """The states of a rollout from one to the other, whose pods' caches are `before` and `after`."""
    first = world(old, facts=Facts(deployments={POOL: fact(old)}, pods={POOL: [pod(old, before)]}))
    told = replace(first.facts, tables={"eu-west": table(first, 5)})
    begins = world(new, facts=told)
    both = {POOL: [pod(old, before, terminating=True), pod(new, after)]}
    rolls = replace(told, deployments={POOL: fact(new)}, pods=both, tables={"eu-west": table(begins, 6)})
    ended = replace(rolls, pods={POOL: [pod(new, after)]})
    return {
        "it begins": begins,
        "an old pod still ends its calls": world(new, facts=rolls),
        "over": world(new, facts=ended),
    }


MIXED = ("it begins", "an old pod still ends its calls")


@pytest.mark.parametrize("state", [*MIXED, "over"])
def test_pods_that_keep_tenants_apart_by_a_salt_get_one_as_long_as_any_is_there(state: str) -> None:
    found = rolling(
        model(engine="VLLM"), model(engine="LlamaCpp", cache={"mode": "Disabled"}), before="salted", after="none"
    )
    cache = routed(found[state]).cache
    assert (cache.mode, cache.salt_field) == (("Tenant", "cache_salt") if state in MIXED else ("Disabled", None))


def custom(salt: str) -> ModelDeployment:
    """One whose engine names the salt's field so; its pods' arguments go with that."""
    own = {"promptCache": "Salted", "saltField": salt}
    return model(engine={"type": "Custom", "image": "acme/engine:1", "args": [salt], "custom": own})


@pytest.mark.parametrize("state", [*MIXED, "over"])
def test_pods_whose_salt_has_another_field_get_it_there_too_as_long_as_any_is_there(state: str) -> None:
    cache = routed(rolling(custom("old_salt"), custom("new_salt"), "salted", "salted")[state]).cache
    assert (cache.salt_field, cache.former_salt_fields) == ("new_salt", ("old_salt",) if state in MIXED else None)


def test_a_third_field_of_a_salt_that_comes_in_between_leaves_the_first_ones_pods_theirs() -> None:
    found = rolling(custom("old_salt"), custom("new_salt"), "salted", "salted")["an old pod still ends its calls"]
    again = replace(found, models={KEY: custom("newest_salt")})
    again = replace(again, facts=replace(again.facts, tables={"eu-west": table(found, 7)}))
    assert routed(again).cache.former_salt_fields == ("new_salt", "old_salt")


@pytest.mark.parametrize(
    ("auth", "state", "kept"),
    [
        ("Required", "an old pod still ends its calls", ("False", "RolloutInProgress")),
        ("Required", "over", ("True", "Enforced")),
        ("None", "an old pod still ends its calls", ("True", "Enforced")),
    ],
)
def test_tenants_are_not_said_to_be_kept_apart_while_pods_are_there_whose_cache_all_share(
    auth: str, state: str, kept: tuple[str, str]
) -> None:
    old = model(engine="LlamaCpp", cache={"mode": "Shared", "noStore": "Refuse"})
    new = model(cache={"mode": "Tenant", "noStore": "Refuse"})
    found = rolling(old, new, "shared", "salted")[state]
    found = replace(found, settings=Settings(gateway_auth=GatewayAuth(auth)))
    (row,) = plan_model(found, KEY).status.regions
    (told,) = [each for each in row.conditions if each.type == "CachePolicyEnforced"]
    assert (told.status, told.reason) == kept
    assert ("1 of 2 pods" in told.message) == (kept[0] == "False")


@pytest.mark.parametrize("state", [*MIXED, "over"])
def test_fields_that_a_client_must_not_control_are_removed_as_long_as_a_pod_is_there_that_knows_them(
    state: str,
) -> None:
    old, new = model(engine="VLLM"), model(engine="SGLang")
    removed = set(routed(rolling(old, new, "salted", "salted")[state]).remove_fields)
    of_old, of_new = (set(routed(world(each)).remove_fields) for each in (old, new))
    assert removed == (of_old | of_new if state in MIXED else of_new)


@pytest.mark.parametrize("state", [*MIXED, "over"])
def test_a_capability_that_comes_is_not_advertised_while_a_pod_is_there_that_lacks_it(state: str) -> None:
    old = model(capabilities={"jsonMode": True})
    new = model(capabilities={"jsonMode": True, "tools": {"parser": "hermes"}})
    route = routed(rolling(old, new, "salted", "salted")[state])
    assert (route.capabilities.json_mode, route.capabilities.tools) == (True, state == "over")


def test_a_capability_is_not_advertised_while_only_a_canary_that_has_it_is_left_beside_the_old_deployment() -> None:
    old, new = model(), model(capabilities={"jsonMode": True}, image="acme/engine:2", rollout={"canary": {}})
    found = rolling(old, new, "salted", "salted")["it begins"]
    canary = Key("models", pool_name("chat", "eu-west", "canary"))
    lost = replace(found, facts=replace(found.facts, pods={canary: [pod(new, "salted")]}))
    assert not routed(lost).capabilities.json_mode, "the next pod is an old one again"
