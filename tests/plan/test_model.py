from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.plan.specs import KEY, model, region, spec, world
from tests.plan.worlds import POOL, table
from tomoul.api.cache import NoStore
from tomoul.api.conditions import Reason
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.api.region import Region
from tomoul.api.routingtable import GatewayAcknowledgement
from tomoul.plan.claims import claims
from tomoul.plan.model import plan_model
from tomoul.plan.naming import gateway_name, pool_name
from tomoul.plan.podfact import ContainerFact, PodFact
from tomoul.plan.routing import model_route, route_hash, wanted_cache
from tomoul.plan.world import DeploymentFact, Facts, Key, World

GATEWAY = Key("tomoul-system", gateway_name("eu-west"))


def row(found: World, key: Key = KEY, name: str = "eu-west") -> RegionModelStatus:
    return next(each for each in plan_model(found, key).status.regions if each.name == name)


def entry(conditions: Sequence[Condition], kind: str) -> Condition:
    return next(each for each in conditions if each.type == kind)


def accepted(name: str, generation: int) -> GatewayAcknowledgement:
    return GatewayAcknowledgement(name=name, accepted_generation=generation)


def routes(
    *gateways: GatewayAcknowledgement, live: Sequence[str], known: str = "", generation: int = 5
) -> tuple[Condition, str]:
    """RoutesProgrammed and the recorded hash, with the planned table of `generation` and those gateways."""
    deployment = with_programmed(model(engine="LlamaCpp"), known)
    found = world(deployment)
    pods = [PodFact(name, ready=True) for name in live] + [
        PodFact("gone", ready=True, terminating=True),
        PodFact("new"),
    ]
    facts = Facts(pods={GATEWAY: pods}, tables={"eu-west": table(found, generation, *gateways)})
    judged = row(world(deployment, facts=facts))
    return entry(judged.conditions, "RoutesProgrammed"), judged.programmed_route


def with_programmed(deployment: ModelDeployment, known: str) -> ModelDeployment:
    status = ModelDeploymentStatus(regions=(RegionModelStatus(name="eu-west", programmed_route=known),))
    return deployment.model_copy(update={"status": status})


def wanted_hash() -> str:
    found = world(model(engine="LlamaCpp"))
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    return route_hash(route)


def test_routes_are_programmed_once_every_live_gateway_has_accepted_the_table() -> None:
    condition, recorded = routes(accepted("a", 5), accepted("b", 6), live=["a", "b"])
    assert condition.status == "True"
    assert condition.reason == Reason.ACKNOWLEDGED
    assert recorded == wanted_hash()


def test_a_gateway_that_lags_or_says_nothing_is_named() -> None:
    condition, recorded = routes(accepted("a", 5), accepted("b", 4), live=["a", "b", "c"])
    assert condition.reason == Reason.WAITING_FOR_GATEWAYS
    assert "`a`" not in condition.message
    assert "`b`, `c`" in condition.message
    assert recorded == ""


def test_gateways_that_are_starting_or_ending_do_not_count_as_live() -> None:
    condition, _ = routes(accepted("gone", 5), accepted("new", 5), live=[])
    assert condition.reason == Reason.NO_LIVE_GATEWAY


def test_a_rejection_is_told_in_envoys_words() -> None:
    refused = GatewayAcknowledgement(name="a", accepted_generation=4, rejected_generation=5, message="bad cluster")
    condition, _ = routes(refused, live=["a"])
    assert condition.reason == Reason.REJECTED_BY_GATEWAY
    assert "bad cluster" in condition.message


def test_a_rejection_of_an_older_table_is_history() -> None:
    mended = GatewayAcknowledgement(name="a", accepted_generation=5, rejected_generation=4, message="bad cluster")
    assert routes(mended, live=["a"])[0].status == "True"


def test_a_route_that_was_acknowledged_stays_so_while_other_models_change_the_table() -> None:
    condition, recorded = routes(accepted("a", 4), live=["a"], known=wanted_hash())
    assert condition.status == "True"
    assert recorded == wanted_hash()


def test_a_route_that_was_acknowledged_is_not_programmed_while_no_gateway_lives() -> None:
    condition, recorded = routes(accepted("gone", 5), live=[], known=wanted_hash())
    assert (condition.status, condition.reason) == ("False", Reason.NO_LIVE_GATEWAY)
    assert recorded == wanted_hash(), "gateways that come back need not acknowledge the newest generation"


def test_a_new_gateway_has_to_acknowledge_some_table_before_a_known_route_counts_there() -> None:
    condition, recorded = routes(accepted("a", 4), live=["a", "b"], known=wanted_hash())
    assert condition.reason == Reason.WAITING_FOR_GATEWAYS
    assert "`b`" in condition.message
    assert "`a`" not in condition.message
    assert recorded == wanted_hash()


def test_a_route_that_changed_waits_for_the_table_and_forgets_the_old_acknowledgement() -> None:
    before = world(model(engine="LlamaCpp", routing={"requireRegion": True}))
    deployment = with_programmed(model(engine="LlamaCpp"), wanted_hash())
    facts = Facts(pods={GATEWAY: [PodFact("a", ready=True)]}, tables={"eu-west": table(before, 5, accepted("a", 5))})
    judged = row(world(deployment, facts=facts))
    assert entry(judged.conditions, "RoutesProgrammed").reason == Reason.WAITING_FOR_TABLE
    assert judged.programmed_route == ""


def test_routes_are_not_programmed_while_a_gateway_has_no_endpoint_of_a_pool_that_has_ready_pods() -> None:
    def judged(ready: int, *lacking: str) -> RegionModelStatus:
        found = world(model(engine="LlamaCpp"))
        a = GatewayAcknowledgement(name="a", accepted_generation=5, pools_without_endpoints=lacking)
        facts = Facts(
            pods={GATEWAY: [PodFact("a", ready=True), PodFact("b", ready=True)]},
            tables={"eu-west": table(found, 5, a, accepted("b", 5))},
            deployments={POOL: DeploymentFact(replicas=1, total=1, ready=ready, updated=1)},
        )
        return row(world(model(engine="LlamaCpp"), facts=facts))

    own = f"{POOL.namespace}/{POOL.name}"
    lacks = judged(1, own)
    condition = entry(lacks.conditions, "RoutesProgrammed")
    assert (condition.status, condition.reason) == ("False", Reason.WAITING_FOR_ENDPOINTS)
    assert f"Service `{POOL.name}`" in condition.message
    assert condition.message.endswith(": `a`")
    assert lacks.programmed_route == wanted_hash(), "the route itself is acknowledged"
    for other in (judged(0, own), judged(1), judged(1, "models/other")):
        assert entry(other.conditions, "RoutesProgrammed").status == "True"


def pool_facts(fact: DeploymentFact | None, *pods: PodFact) -> Facts:
    return Facts(deployments={POOL: fact} if fact is not None else {}, pods={POOL: pods})


def running(name: str) -> PodFact:
    return PodFact(name, ready=True, scheduled=True, phase="Running")


def waiting(reason: str = "ContainerCreating", *, terminating: bool = False) -> PodFact:
    container = ContainerFact("engine", waiting=reason)
    return PodFact("p", scheduled=True, containers=[container], terminating=terminating)


@pytest.mark.parametrize(
    ("facts", "kind", "reason", "words"),
    [
        (pool_facts(None), "Scheduled", Reason.WAITING_FOR_PODS, "1 of 1 pods"),
        (
            pool_facts(None, PodFact("p", unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")),
            "Scheduled",
            Reason.UNSCHEDULABLE,
            "2 GPUs are needed, 2 × `nvidia-l4` (nvidia.com/gpu) for each replica; no node that the Region",
        ),
        (pool_facts(None, running("p")), "Scheduled", Reason.ALL_PODS_SCHEDULED, ""),
        (pool_facts(None), "WorkloadReady", Reason.NO_REPLICA_READY, "0 of 1"),
        (
            pool_facts(DeploymentFact(replicas=1, updated=1, ready=1), running("p")),
            "WorkloadReady",
            Reason.ALL_REPLICAS_READY,
            "",
        ),
        (
            pool_facts(DeploymentFact(2, 2, replicas=1, updated=0, ready=1), running("p")),
            "WorkloadReady",
            Reason.ROLLOUT_IN_PROGRESS,
            "1 of 1 replicas",
        ),
        (
            pool_facts(DeploymentFact(3, 2, replicas=1, updated=1, ready=1), running("p")),
            "WorkloadReady",
            Reason.ROLLOUT_IN_PROGRESS,
            "(0 of the newest revision)",
        ),
        (pool_facts(DeploymentFact(), waiting()), "WorkloadReady", Reason.NO_REPLICA_READY, "0 of 1"),
        (pool_facts(DeploymentFact(), waiting()), "ModelReady", Reason.MODEL_LOADING, "volumes and images"),
        (pool_facts(DeploymentFact(), waiting("ErrImagePull")), "WorkloadReady", Reason.IMAGE_PULL_FAILED, "0 of 1"),
        (pool_facts(DeploymentFact(), waiting("ErrImagePull")), "ModelReady", Reason.IMAGE_PULL_FAILED, "Pod `p`"),
        (
            pool_facts(DeploymentFact(), waiting("CrashLoopBackOff", terminating=True)),
            "WorkloadReady",
            Reason.NO_REPLICA_READY,
            "0 of 1",
        ),
    ],
)
def test_pods_are_judged_by_what_holds_them_up(facts: Facts, kind: str, reason: Reason, words: str) -> None:
    found = world(model(resources={"accelerator": "nvidia-l4", "count": 2}), facts=facts)
    judged = row(found)
    assert entry(judged.conditions, kind).reason == reason
    assert words in entry(judged.conditions, kind).message
    assert entry(judged.conditions, "Ready").status == "False"
    assert judged.waiting_for


def test_no_wanted_replicas_is_told_apart_from_none_ready() -> None:
    judged = row(world(model(regions=[{"name": "eu-west", "replicas": 0}])))
    assert entry(judged.conditions, "WorkloadReady").reason == Reason.SCALED_TO_ZERO


def test_an_autoscaled_deployment_has_no_replicas_of_ours_and_is_judged_by_its_own() -> None:
    facts = pool_facts(DeploymentFact(replicas=4, ready=3))
    planned = plan_model(world(model(regions=[{"name": "eu-west"}]), facts=facts), KEY)
    deployment = next(obj for obj in planned.objects if obj["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"]
    assert planned.status.regions[0].pools[0].replicas == 4


def test_a_promise_that_the_engine_cannot_keep_is_told_and_its_calls_are_refused() -> None:
    cache = spec("LlamaCpp").cache.model_copy(update={"no_store": NoStore.ISOLATED})
    deployment = model(engine="LlamaCpp")
    # The schema refuses this spec; a cluster with an older CRD may hold it all the same.
    broken = deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"cache": cache})})
    found = world(broken)
    assert entry(row(found).conditions, "CachePolicyEnforced").reason == Reason.ENGINE_CANNOT_ISOLATE
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    assert route.cache.no_store is NoStore.REFUSE


def test_an_empty_pool_for_no_store_breaks_the_cache_policy() -> None:
    judged = row(world(model(cache={"noStore": "NotStored"})))
    assert entry(judged.conditions, "CachePolicyEnforced").reason == Reason.NO_STORE_POOL_EMPTY


def test_a_model_that_runs_only_elsewhere_has_no_rows_and_says_so() -> None:
    status = plan_model(world(model(), hosted=frozenset({"us-east"})), KEY).status
    assert status.regions == ()
    assert entry(status.conditions, "Ready").reason == Reason.HOSTED_ELSEWHERE
    assert status.ready_regions == "0/0"


def test_a_disabled_region_does_not_make_the_others_unready() -> None:
    regions = (region("eu-west"), region("us-east", state="Disabled"))
    both = model(regions=[{"name": "eu-west", "replicas": 1}, {"name": "us-east", "replicas": 1}])
    status = plan_model(world(both, regions=regions), KEY).status
    assert entry(status.conditions, "Accepted").status == "True"
    assert status.ready_regions == "0/1"
    disabled = next(each for each in status.regions if each.name == "us-east")
    assert entry(disabled.conditions, "Accepted").reason == Reason.REGION_DISABLED


def test_a_region_that_is_being_deleted_refuses_its_models_and_no_other_region_sends_calls_there() -> None:
    going = region("us-east")
    gone = going.metadata.model_copy(update={"deletion_timestamp": datetime(2026, 1, 2, tzinfo=UTC)})
    regions = (region("eu-west"), going.model_copy(update={"metadata": gone}))
    both = model(
        regions=[{"name": "eu-west", "replicas": 1}, {"name": "us-east", "replicas": 1}],
        routing={"fallback": ["us-east"]},
    )
    found = world(both, regions=regions)
    planned = plan_model(found, KEY)
    assert {obj["metadata"]["labels"]["tomoul.ai/region"] for obj in planned.objects} == {"eu-west"}
    told = entry(row(found, name="us-east").conditions, "Accepted")
    assert (told.status, told.reason) == ("False", Reason.UNKNOWN_REGION)
    assert "being deleted" in told.message
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    assert (route.regions, route.fallback) == (("eu-west",), ())
    only = plan_model(world(model(regions=[{"name": "us-east", "replicas": 1}]), regions=regions), KEY).status
    assert entry(only.conditions, "Accepted").reason == Reason.UNKNOWN_REGION


def test_a_model_that_is_being_deleted_gives_its_id_away_and_has_no_objects() -> None:
    old = model(Key("a", "old"), created="2026-01-01T00:00:00Z")
    gone = old.metadata.model_copy(update={"deletion_timestamp": datetime(2026, 1, 2, tzinfo=UTC)})
    found = world(old.model_copy(update={"metadata": gone}), model(Key("b", "new"), created="2026-02-01T00:00:00Z"))
    assert plan_model(found, Key("a", "old")).objects == ()
    assert entry(row(found, Key("b", "new")).conditions, "Accepted").status == "True"


def test_of_two_models_of_one_age_the_first_by_namespace_and_name_serves_the_id() -> None:
    found = world(model(Key("b", "x")), model(Key("a", "y")), model(Key("a", "x")))
    assert claims(found.models).claimants("acme/chat") == (Key("a", "x"), Key("a", "y"), Key("b", "x"))
    refused = entry(row(found, Key("b", "x")).conditions, "Accepted")
    assert refused.reason == Reason.MODEL_ID_CONFLICT
    assert "`a/x`" in refused.message


def test_arguments_reach_the_engine_as_they_were_written() -> None:
    planned = plan_model(world(model(engine="LlamaCpp", source={"file": {"path": "/models/$(HOME).gguf"}})), KEY)
    deployment = next(obj for obj in planned.objects if obj["kind"] == "Deployment")
    assert "/models/$$(HOME).gguf" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_an_alias_takes_nothing_from_a_model_with_that_id_however_young_and_only_the_alias_is_left_out() -> None:
    old = model(Key("m", "old"), "LlamaCpp", "2026-01-01T00:00:00Z", model={"id": "acme/old", "aliases": ["chat", "o"]})
    young = model(Key("m", "young"), "LlamaCpp", "2026-02-01T00:00:00Z", model={"id": "chat"})
    found = world(old, young)
    for key in found.models:
        assert entry(row(found, key).conditions, "Accepted").status == "True"
        assert plan_model(found, key).objects
    routes = {name: model_route(found, name, "eu-west", claims(found.models)) for name in ("acme/old", "chat")}
    assert {name: route.aliases for name, route in routes.items() if route is not None} == {
        "acme/old": ("o",),
        "chat": (),
    }
    told = "spec.model.aliases[0]: `chat` is not routed here: it is the id of ModelDeployment `m/young`; remove it"
    assert entry(row(found, Key("m", "old")).conditions, "Accepted").message == told
    assert entry(plan_model(found, Key("m", "old")).status.conditions, "Accepted").message == f"eu-west: {told}"
    assert entry(row(found, Key("m", "young")).conditions, "Accepted").message == ""


def test_of_two_models_with_one_alias_the_older_keeps_it_and_the_younger_runs_without() -> None:
    models = [
        model(Key("m", name), "LlamaCpp", created, model={"id": f"acme/{name}", "aliases": ["chat"]})
        for name, created in (("young", "2026-02-01T00:00:00Z"), ("old", "2026-01-01T00:00:00Z"))
    ]
    found = world(*models)
    for name, aliases in (("old", ("chat",)), ("young", ())):
        route = model_route(found, f"acme/{name}", "eu-west", claims(found.models))
        assert route is not None
        assert route.aliases == aliases
    words = entry(row(found, Key("m", "young")).conditions, "Accepted")
    assert words.status == "True"
    assert "an alias of ModelDeployment `m/old`, which is older" in words.message


RESERVED = ("--served-model-name", "other")


def refused_edit(before: ModelDeployment, regions: tuple[Region, ...] | None = None, **spec: Any) -> World:
    """The world after an edit that is refused, of a model that runs in eu-west."""
    settled = world(before)
    ran = Facts(
        deployments={POOL: DeploymentFact(1, 1, replicas=1, updated=1, ready=1)},
        pods={POOL: [running("p")], GATEWAY: [PodFact("a", ready=True)]},
        tables={"eu-west": table(settled, 5, accepted("a", 5))},
    )
    edited = model(engine=before.spec.engine.type, **spec)
    return world(edited, regions=regions, facts=ran)


def test_what_runs_goes_on_while_an_edit_is_refused() -> None:
    found = refused_edit(model(), args=RESERVED)
    planned = plan_model(found, KEY)
    assert planned.objects == ()
    assert planned.keep == {"eu-west"}
    told = {each.type: (each.status, each.reason) for each in row(found).conditions}
    assert told == {
        "Accepted": ("False", Reason.UNSUPPORTED_BY_ENGINE),
        "Scheduled": ("True", Reason.ALL_PODS_SCHEDULED),
        "ModelReady": ("True", Reason.ENGINE_ANSWERED),
        "WorkloadReady": ("True", Reason.ALL_REPLICAS_READY),
        "RoutesProgrammed": ("True", Reason.ACKNOWLEDGED),
        "CachePolicyEnforced": ("True", Reason.ENFORCED),
        "Ready": ("False", Reason.UNSUPPORTED_BY_ENGINE),
    }


def test_a_promise_of_seeds_that_was_judged_before_stays_as_it_was_while_an_edit_is_refused() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    kept = Condition(
        type="SeedKept", status="True", reason="Enforced", observed_generation=2, last_transition_time=since
    )
    found = refused_edit(model(), args=RESERVED)
    edited = found.models[KEY]
    status = ModelDeploymentStatus(regions=(RegionModelStatus(name="eu-west", conditions=(kept,)),))
    told = row(replace(found, models={KEY: edited.model_copy(update={"status": status})}))
    assert entry(told.conditions, "SeedKept") == kept


def test_a_refused_model_whose_pool_without_a_cache_is_empty_does_not_keep_its_policy() -> None:
    policy = {"noStore": "NotStored"}
    found = refused_edit(model(cache=policy), args=RESERVED, cache=policy)
    told = entry(row(found).conditions, "CachePolicyEnforced")
    assert (told.status, told.reason) == ("False", Reason.NO_STORE_POOL_EMPTY)


def test_a_refused_model_that_never_ran_has_nothing_to_tell_of() -> None:
    found = world(model(args=RESERVED))
    assert plan_model(found, KEY).objects == ()
    assert entry(row(found).conditions, "WorkloadReady").reason == Reason.PENDING


@pytest.mark.parametrize("regions", [(region(state="Disabled"),), (region("us-east"),)])
def test_nothing_is_kept_where_a_region_is_disabled_or_gone(regions: tuple[Region, ...]) -> None:
    assert plan_model(refused_edit(model(), regions, args=RESERVED), KEY).keep == frozenset()


def cached(cache: str, *, terminating: bool = False, phase: str = "Running") -> PodFact:
    return PodFact("p", ready=True, scheduled=True, phase=phase, terminating=terminating, prompt_cache=cache)


@pytest.mark.parametrize(
    ("cache", "image", "pods", "kept"),
    [
        ({"mode": "Disabled"}, None, [], True),
        ({"mode": "Disabled"}, None, [cached("none")], True),
        ({"mode": "Disabled"}, None, [cached("none"), cached("salted")], False),
        ({"mode": "Disabled"}, None, [cached("none"), cached("salted", terminating=True)], False),
        ({"mode": "Disabled"}, None, [cached("none"), cached("salted", phase="Failed")], True),
        ({"mode": "Disabled"}, None, [cached("")], False),
        ({"noStore": "Isolated"}, None, [cached("salted")], True),
        ({"noStore": "Isolated"}, None, [cached("salted"), cached("none")], True),
        ({"noStore": "Isolated"}, None, [cached("salted"), cached("shared")], False),
        ({"mode": "Shared", "noStore": "Refuse"}, None, [cached("shared")], True),
    ],
)
def test_no_store_is_promised_only_once_no_pod_breaks_it(
    cache: dict[str, str], image: str | None, pods: list[PodFact], kept: bool
) -> None:
    found = world(model(cache=cache, image=image), facts=Facts(pods={POOL: pods}))
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    told = entry(row(found).conditions, "CachePolicyEnforced")
    if kept:
        assert route.cache == wanted_cache(found.models[KEY])
        assert told.status == "True"
    else:
        assert (route.cache.mode, route.cache.no_store) == ("Tenant", "Refuse")
        assert route.cache.salt_field == "cache_salt", "old pods still keep tenants apart by it"
        assert (told.status, told.reason) == ("False", Reason.ROLLOUT_IN_PROGRESS)
        assert f"1 of {len(pods)} pods" in told.message


def test_a_pool_for_no_store_that_has_a_cache_after_all_is_not_promised() -> None:
    pool = Key("models", pool_name("chat", "eu-west", "no-store"))
    found = world(model(cache={"noStore": "NotStored"}), facts=Facts(pods={pool: [cached("salted")]}))
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    assert route.cache.no_store is NoStore.REFUSE
