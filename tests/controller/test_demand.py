"""Figures of gateways: what they add up to, and when there are none."""

from tests.plan.specs import model, world
from tomoul.api.scaling import Scaling
from tomoul.controller.scaling.activation import IdleTimes
from tomoul.controller.scaling.demand import REFUSED_SECONDS, Demand, Reading, parse_stats
from tomoul.controller.scaling.sampler import clusters_of
from tomoul.plan.scaling import ScaledPool, scaled_pools
from tomoul.plan.world import DeploymentFact, Key

STALE_SECONDS = 30
POOL = "pool/models/chat"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pool(least: int = 0, seconds: int = 60) -> ScaledPool:
    scaling = Scaling(min_replicas=least, max_replicas=5, target_in_flight=8, scale_down_seconds=seconds)
    return ScaledPool(Key("models", "chat"), "eu-west", "acme/chat", "default", scaling)


def test_what_envoy_writes_is_read_by_cluster_and_what_else_it_writes_is_passed_over() -> None:
    text = """# TYPE envoy_cluster_upstream_rq_active gauge
envoy_cluster_upstream_rq_active{envoy_cluster_name="pool/models/chat"} 3
envoy_cluster_upstream_rq_pending_active{envoy_cluster_name="pool/models/chat"} 2
envoy_cluster_upstream_cx_none_healthy{envoy_cluster_name="pool/models/chat"} 7
envoy_cluster_upstream_rq_total{envoy_cluster_name="pool/models/chat"} 70
envoy_cluster_upstream_cx_total{envoy_cluster_name="pool/models/chat"} 99
"""
    assert parse_stats(text) == {POOL: Reading(in_flight=5, refused=7, sent=70)}


def test_calls_are_those_of_all_gateways_and_those_of_one_that_ends_count_too() -> None:
    demand = Demand(STALE_SECONDS, Clock())
    demand.hear("a", {POOL: Reading(3)})
    demand.hear("b", {})
    demand.hear("ending", {POOL: Reading(2)})
    assert demand.calls([POOL], ["a", "b"], ["ending", "unknown"]) == 5


def test_calls_to_a_canary_are_calls_to_its_pool_which_has_them_before_and_after() -> None:
    tried = model(
        regions=[{"name": "eu-west", "scaling": {"maxReplicas": 4, "targetInFlight": 8}}], rollout={"canary": {}}
    )
    (found,) = scaled_pools(world(tried))
    clusters = clusters_of(found)
    demand = Demand(STALE_SECONDS, Clock())
    demand.hear("a", {clusters[0]: Reading(3), clusters[1]: Reading(4), POOL: Reading(50)})
    assert demand.calls(clusters, ["a"]) == 3 + 4


def test_without_a_live_gateway_or_with_one_that_is_silent_nobody_knows() -> None:
    clock = Clock()
    demand = Demand(STALE_SECONDS, clock)
    assert demand.calls([POOL], []) is None
    demand.hear("a", {POOL: Reading(3)})
    assert demand.calls([POOL], ["a", "b"]) is None
    demand.hear("b", {})
    clock.now = STALE_SECONDS + 1
    demand.hear("b", {})
    assert demand.calls([POOL], ["a", "b"]) is None
    assert demand.calls([POOL], ["b"], ["a"]) == 0


def test_a_refused_call_counts_for_a_minute_and_those_before_the_first_look_do_not() -> None:
    clock = Clock()
    demand = Demand(STALE_SECONDS, clock)
    demand.hear("a", {POOL: Reading(0, 7)})
    assert demand.calls([POOL], ["a"]) == 0
    demand.hear("a", {POOL: Reading(0, 8)})
    assert demand.calls([POOL], ["a"]) == 1
    for clock.now in (REFUSED_SECONDS, REFUSED_SECONDS + 1):
        demand.hear("a", {POOL: Reading(0, 8)})
        assert demand.calls([POOL], ["a"]) == (1 if clock.now <= REFUSED_SECONDS else 0)


def test_a_call_that_is_over_before_anybody_looks_counts_until_everybody_has_looked() -> None:
    clock = Clock()
    demand = Demand(STALE_SECONDS, clock)
    demand.hear("a", {POOL: Reading(sent=7)})
    assert demand.calls([POOL], ["a"]) == 0, "nobody knows when those were"
    demand.hear("a", {POOL: Reading(sent=9)})
    for clock.now, counted in ((0, 1), (STALE_SECONDS, 1), (STALE_SECONDS + 1, 0)):
        demand.hear("a", {POOL: Reading(sent=9)})
        assert demand.calls([POOL], ["a"]) == counted
    demand.hear("a", {POOL: Reading(in_flight=3, sent=12)})
    assert demand.calls([POOL], ["a"]) == 3


def test_a_refused_call_counts_after_the_gateway_began_anew() -> None:
    clock = Clock()
    demand = Demand(STALE_SECONDS, clock)
    demand.hear("a", {POOL: Reading(0, 5)})
    demand.hear("a", {POOL: Reading(0, 2)})
    assert demand.calls([POOL], ["a"]) == 1


def test_a_gateway_that_is_gone_is_forgotten() -> None:
    demand = Demand(STALE_SECONDS, Clock())
    demand.hear("a", {POOL: Reading(3)})
    demand.forget_others(["b"])
    assert demand.calls([POOL], ["a"]) is None


def test_the_last_replica_goes_after_a_time_without_calls_that_is_counted_anew_after_each() -> None:
    clock = Clock()
    idle, one = IdleTimes(clock), DeploymentFact(replicas=1)
    assert idle.wanted(pool(), one, 0) == 1
    clock.now = 59
    assert idle.wanted(pool(), one, 1) == 1
    clock.now = 60
    assert idle.wanted(pool(), one, 0) == 1
    clock.now = 119
    assert idle.wanted(pool(), one, 0) == 1
    clock.now = 120
    assert idle.wanted(pool(), one, 0) == 0


def test_the_last_replica_stays_while_nobody_knows_of_calls() -> None:
    clock = Clock()
    idle, one = IdleTimes(clock), DeploymentFact(replicas=1)
    idle.wanted(pool(), one, 0)
    clock.now = 60
    assert idle.wanted(pool(), one, None) == 1
    clock.now = 61
    assert idle.wanted(pool(), one, 0) == 1, "the time without calls begins anew"


def test_a_call_wakes_a_pool_and_nothing_else_does() -> None:
    idle, none = IdleTimes(Clock()), DeploymentFact(replicas=0)
    assert [idle.wanted(pool(), none, calls) for calls in (0, None, 1, 40)] == [0, 0, 1, 1]


def test_more_than_one_replica_is_the_autoscalers() -> None:
    clock = Clock()
    idle, three = IdleTimes(clock), DeploymentFact(replicas=3)
    assert idle.wanted(pool(), three, 0) == 3
    clock.now = 1000
    assert idle.wanted(pool(), three, 0) == 3


def test_a_pool_that_must_have_replicas_gets_one_for_the_autoscaler_to_begin_with() -> None:
    clock = Clock()
    idle = IdleTimes(clock)
    assert idle.wanted(pool(least=2), DeploymentFact(replicas=0), 0) == 1
    clock.now = 1000
    assert idle.wanted(pool(least=1), DeploymentFact(replicas=1), 0) == 1
