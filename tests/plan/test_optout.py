"""Calls with `X-Tomoul-Cache: no-store` have a pool without a cache for as long as any pod of the model has one."""

from typing import Any

import pytest

from tests.plan.cluster import BROKEN, Cluster
from tests.plan.test_rollout_sequences import CANARY, NO_STORE, POOL, changed, chat
from tomoul.plan.model import plan_model
from tomoul.plan.world import Key

STORED, DISABLED = ("Tenant", "NotStored"), ("Disabled", "Isolated")


def settled(replicas: int = 1, gpus: int = 4, **fields: Any) -> Cluster:
    cluster = Cluster(chat("one", replicas, cache=STORED, **fields), gpus=gpus)
    cluster.settle()
    return cluster


def promised(cluster: Cluster) -> bool:
    """Whether `no-store` calls are taken, by pods that have no cache and are ready; else they are refused."""
    (route,) = cluster.tables["eu-west"].spec.models
    if route.cache.no_store == "Refuse":
        return False
    pools = {pool.name for pool in route.pools}
    own = route.cache.mode != "Disabled"
    assert own == ("no-store" in pools)
    answering = cluster.pods(NO_STORE) if own else cluster.pods(POOL, CANARY)
    assert {pod.prompt_cache for pod in answering} <= {"none"}
    return any(pod.ready for pod in answering)


def step_by_step(cluster: Cluster, rounds: int = 12) -> list[bool]:
    found = []
    for _ in range(rounds):
        for step in (cluster.reconcile, cluster.roll, cluster.schedule, cluster.start, cluster.reconcile):
            step()
            cluster.publish()
            found.append(promised(cluster))
        cluster.drain()
    return found


def told(cluster: Cluster) -> tuple[str, str, str]:
    (row,) = cluster.model.status.regions
    (found,) = [each for each in row.conditions if each.type == "CachePolicyEnforced"]
    return found.status, found.reason, found.message


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_in_a_rollout_to_no_cache_the_pool_for_no_store_stays_until_the_last_pod_with_a_cache_is_gone(
    strategy: str,
) -> None:
    cluster = settled(2, strategy=strategy)
    changed(cluster, chat("one", 2, cache=DISABLED, strategy=strategy))
    assert all(step_by_step(cluster))
    cluster.settle()
    assert cluster.rollout.phase == "Complete"
    assert set(cluster.deployments) == {POOL}
    assert told(cluster)[0] == "True"
    assert plan_model(cluster.world, Key("models", "chat")).still_serving == frozenset()


def test_while_a_canary_without_a_cache_is_tried_and_after_it_failed_the_pool_for_no_store_goes_on() -> None:
    cluster = settled(1, canary=True)
    changed(cluster, chat("one", 1, cache=DISABLED, canary=True))
    assert all(step_by_step(cluster))
    assert (cluster.rollout.phase, told(cluster)[:2]) == ("Canary", ("False", "RolloutInProgress"))
    assert f"`no-store` calls go to `{NO_STORE.name}`" in told(cluster)[2]
    cluster.count(20, 20, 60)
    assert all(step_by_step(cluster))
    assert cluster.rollout.phase == "RolledBack"
    before = cluster.deployments[NO_STORE].pods[:]
    changed(cluster, chat("one", 1, cache=STORED, canary=True))
    assert all(step_by_step(cluster))
    assert cluster.deployments[NO_STORE].pods == before, "what served goes on"


def test_a_canary_without_a_cache_that_is_promoted_takes_over_from_both_pools_without_a_gap() -> None:
    cluster = settled(1, canary=True)
    changed(cluster, chat("one", 1, cache=DISABLED, canary=True))
    cluster.settle()
    cluster.count(20, 0, 60)
    assert all(step_by_step(cluster))
    cluster.settle()
    assert (cluster.rollout.phase, set(cluster.deployments)) == ("Complete", {POOL})


def test_the_pool_for_no_store_goes_only_once_the_table_sends_no_call_there() -> None:
    cluster = settled()
    changed(cluster, chat("one", 1, cache=("Tenant", "Isolated")))
    stays = plan_model(cluster.world, Key("models", "chat")).still_serving
    assert stays >= {(kind, NO_STORE.name) for kind in ("Deployment", "Service", "PodDisruptionBudget")}
    cluster.settle()
    assert set(cluster.deployments) == {POOL}


def test_pods_that_wait_for_the_gpus_of_a_pool_for_no_store_that_is_not_wanted_get_them() -> None:
    cluster = settled(1, gpus=2, strategy="Replace")
    changed(cluster, chat("one", 2, cache=DISABLED, strategy="Replace"))
    cluster.settle()
    assert (cluster.rollout.phase, set(cluster.deployments)) == ("Complete", {POOL})
    assert sum(pod.ready for pod in cluster.deployments[POOL].pods) == 2


def test_a_rollout_to_no_cache_that_does_not_work_leaves_no_store_calls_what_they_had() -> None:
    cluster = settled(2, gpus=8)
    changed(cluster, chat(f"{BROKEN}-one", 2, cache=DISABLED))
    assert all(step_by_step(cluster))
    changed(cluster, chat("one", 2, cache=STORED))
    assert all(step_by_step(cluster))
    assert cluster.rollout.phase == "Complete"


def test_while_a_deployment_would_make_pods_with_a_cache_no_route_counts_on_there_being_none() -> None:
    cluster = settled(1, canary=True)
    changed(cluster, chat("one", 1, cache=DISABLED, canary=True))
    cluster.settle()
    for key in (POOL, CANARY):
        cluster.lose(key)
    assert not cluster.pods(POOL, CANARY)
    route = cluster.publish()
    assert (route.cache.mode, route.cache.salt_field) == ("Tenant", "cache_salt"), "the old revision's pods come again"
