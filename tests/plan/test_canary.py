"""A canary: when there is one, what becomes of it, and what never changes meanwhile."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.specs import KEY, model, world
from tests.plan.worlds import POOL, table
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.rollout import Canary, RolloutStatus
from tomoul.plan.canary import judge
from tomoul.plan.claims import claims
from tomoul.plan.model import ModelPlan, plan_model
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import ContainerFact, PodFact
from tomoul.plan.pods import engine_pod
from tomoul.plan.revision import revision_of, stamped
from tomoul.plan.routing import model_route
from tomoul.plan.settings import Settings
from tomoul.plan.world import CallCounts, CanaryFact, DeploymentFact, Facts, Key, Manifest, World

CANARY = Key("models", pool_name("chat", "eu-west", "canary"))
SPEC = Canary(weight=10, duration_seconds=60, min_calls=100, max_error_percent=2, max_ttft_percent=150)


def chat(image: str, canary: bool = True, **fields: Any) -> ModelDeployment:
    rollout = {"canary": SPEC.model_dump() if canary else None, "deadlineSeconds": 300}
    return model(image=f"acme/engine:{image}", rollout=rollout, regions=[{"name": "eu-west", "replicas": 2}], **fields)


def template(deployment: ModelDeployment) -> Manifest:
    found = world(deployment)
    return stamped(engine_pod(deployment, found.regions["eu-west"], "default", Settings()))


OLD, NEW = (revision_of(template(chat(image))) for image in ("1", "2"))


def stable(image: str = "1", **fields: Any) -> DeploymentFact:
    made = template(chat(image))
    fact = DeploymentFact(1, 1, replicas=2, updated=2, ready=2, total=2, revision=revision_of(made))
    return replace(fact, **{"template": json.dumps(made), **fields})


def trial(counts: CanaryFact | None = None, *, pod: bool = True, **fields: Any) -> Facts:
    """A canary that runs beside two old pods."""
    pods = [PodFact("canary", "n", "Running", ready=True, scheduled=True, revision=NEW, prompt_cache="salted")]
    facts = Facts(
        deployments={
            POOL: stable(),
            CANARY: DeploymentFact(1, 1, replicas=1, updated=1, ready=1, total=1, revision=NEW),
        },
        pods={CANARY: pods} if pod else {},
        canaries={CANARY: counts} if counts is not None else {},
    )
    return replace(facts, **fields)


def counts(calls: int = 100, errors: int = 0, seconds: int = 60, **fields: Any) -> CanaryFact:
    fact = CanaryFact(NEW, seconds, CallCounts(calls, errors), CallCounts(1000, 0))
    return replace(fact, **fields)


def after(found: World, times: int = 1) -> World:
    """The world once its plan's statuses were written."""
    for _ in range(times):
        status = plan_model(found, KEY).status
        models = {KEY: found.models[KEY].model_copy(update={"status": status})}
        found = replace(found, models=models)
    return found


def told(found: ModelPlan) -> RolloutStatus:
    rollout = found.status.regions[0].rollout
    assert rollout is not None
    return rollout


def deployments(found: ModelPlan) -> dict[str, str]:
    """Images by the name of the Deployment."""
    return {
        obj["metadata"]["name"]: obj["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[1]
        for obj in found.objects
        if obj["kind"] == "Deployment"
    }


def condition(found: ModelPlan, kind: str = "WorkloadReady") -> tuple[str, str, str]:
    (entry,) = [entry for entry in found.status.regions[0].conditions if entry.type == kind]
    return entry.status, entry.reason, entry.message


def weights(found: World) -> dict[str, int | None]:
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    return {pool.name: pool.weight for pool in route.pools}


def test_a_new_revision_is_tried_by_one_pod_while_the_old_ones_keep_their_template() -> None:
    found = world(chat("2"), facts=Facts(deployments={POOL: stable()}))
    plan = plan_model(found, KEY)
    assert deployments(plan) == {POOL.name: "1", CANARY.name: "2"}
    (made,) = [o for o in plan.objects if o["kind"] == "Deployment" and o["metadata"]["name"] == CANARY.name]
    assert made["spec"]["replicas"] == 1
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert (labels["tomoul.ai/revision"], labels["tomoul.ai/pool"]) == (NEW, "canary")
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    services = {obj["metadata"]["name"] for obj in plan.objects if obj["kind"] == "Service"}
    assert services == {POOL.name, CANARY.name}
    rollout = told(plan)
    assert (rollout.reason, rollout.message[:6]) == ("NotBegun", "Chosen")
    assert (rollout.phase, rollout.revision, rollout.serving_revision) == ("Canary", NEW, OLD)
    assert condition(plan)[:2] == ("False", "RolloutInProgress")


def test_the_gateways_send_it_its_weight_once_the_status_says_that_it_is_tried() -> None:
    found = world(chat("2"), facts=Facts(deployments={POOL: stable()}))
    assert weights(found) == {"default": None}
    assert weights(after(found)) == {"default": None, "canary": 10}


def test_a_rollout_without_a_canary_or_of_a_first_revision_is_no_trial() -> None:
    plan = plan_model(world(chat("2", canary=False), facts=Facts(deployments={POOL: stable()})), KEY)
    assert deployments(plan) == {POOL.name: "2"}
    assert deployments(plan_model(world(chat("2")), KEY)) == {POOL.name: "2"}


@pytest.mark.parametrize("broken", [{"ready": 0}, {"total": 3, "updated": 1}, {"template": ""}])
def test_a_revision_that_serves_nothing_or_is_still_taking_over_is_replaced_at_once(broken: dict[str, Any]) -> None:
    facts = Facts(deployments={POOL: stable(**broken)})
    plan = plan_model(world(chat("2"), facts=facts), KEY)
    assert deployments(plan) == {POOL.name: "2"}
    assert told(plan).canary is None


def test_a_trial_goes_on_while_old_pods_come_and_go() -> None:
    found = world(chat("2"), facts=trial())
    facts = replace(found.facts, deployments={**found.facts.deployments, POOL: stable(ready=0, total=3)})
    assert deployments(plan_model(replace(found, facts=facts), KEY)) == {POOL.name: "1", CANARY.name: "2"}


def test_a_trial_that_begins_again_waits_for_the_old_pods_and_its_revision_takes_over_from_none_of_them() -> None:
    begun = after(world(chat("2"), facts=Facts(deployments={POOL: stable()})))
    plan = plan_model(replace(begun, facts=Facts(deployments={POOL: stable(ready=0)})), KEY)
    assert deployments(plan) == {POOL.name: "1"}
    assert told(plan).canary.message == "Waits for pods of the old revision to be ready"  # type: ignore[union-attr]
    assert deployments(plan_model(begun, KEY)) == {POOL.name: "1", CANARY.name: "2"}


def test_going_back_takes_the_canary_away_and_touches_nothing_else() -> None:
    tried = after(world(chat("2"), facts=trial()))
    back = tried.models[KEY].model_copy(update={"spec": chat("1").spec})
    plan = plan_model(replace(tried, models={KEY: back}), KEY)
    assert deployments(plan) == {POOL.name: "1"}
    assert (told(plan).phase, told(plan).canary) == ("Complete", None)


def test_leaving_the_canary_out_lets_its_revision_take_over() -> None:
    tried = after(world(chat("2"), facts=trial(counts(errors=50))), 2)
    assert told(plan_model(tried, KEY)).phase == "RolledBack"
    without = tried.models[KEY].model_copy(update={"spec": chat("2", canary=False).spec})
    ended = Facts(deployments={POOL: stable()})
    assert deployments(plan_model(replace(tried, models={KEY: without}, facts=ended), KEY)) == {POOL.name: "2"}


def test_a_verdict_is_written_before_it_is_acted_upon() -> None:
    found = world(chat("2"), facts=trial(counts()))
    plan = plan_model(found, KEY)
    assert deployments(plan) == {POOL.name: "1", CANARY.name: "2"}
    assert told(plan).canary is not None
    assert told(plan).canary.verdict == "Promoted"  # type: ignore[union-attr]
    assert deployments(plan_model(after(found), KEY)) == {POOL.name: "1"}


def test_a_promoted_revision_takes_over_once_its_canarys_pod_has_left_its_gpus() -> None:
    promoted = after(world(chat("2"), facts=trial(counts())))
    leaving = plan_model(promoted, KEY)
    assert condition(leaving)[:2] == ("False", "RolloutInProgress")
    assert "promoted" in condition(leaving)[2]
    gone = replace(promoted, facts=Facts(deployments={POOL: stable()}))
    plan = plan_model(gone, KEY)
    assert deployments(plan) == {POOL.name: "2"}
    assert told(plan).phase == "Progressing"
    rolled = replace(after(gone), facts=Facts(deployments={POOL: stable("2")}))
    assert told(plan_model(rolled, KEY)).phase == "Complete"
    assert told(plan_model(rolled, KEY)).canary.verdict == "Promoted"  # type: ignore[union-attr]


def test_a_failed_canary_goes_and_the_old_revision_stays_until_the_spec_changes() -> None:
    failed = after(world(chat("2"), facts=trial(counts(errors=3))), 3)
    plan = plan_model(failed, KEY)
    assert deployments(plan) == {POOL.name: "1"}
    assert told(plan).phase == "RolledBack"
    assert weights(failed) == {"default": None}
    status, reason, message = condition(plan)
    assert (status, reason) == ("False", "CanaryRolledBack")
    assert "3 of its 100 calls failed (3.0 %)" in message
    third = failed.models[KEY].model_copy(update={"spec": chat("3").spec})
    assert deployments(plan_model(replace(failed, models={KEY: third}), KEY)) == {POOL.name: "1", CANARY.name: "3"}


def test_counts_of_another_revision_say_nothing_of_this_one() -> None:
    plan = plan_model(world(chat("2"), facts=trial(counts(errors=50, revision="other"))), KEY)
    assert told(plan).canary.verdict == "Pending"  # type: ignore[union-attr]


def test_a_canary_without_room_says_so_and_the_old_revision_goes_on() -> None:
    waiting = PodFact("canary", revision=NEW, unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    plan = plan_model(world(chat("2"), facts=trial(pods={CANARY: [waiting]})), KEY)
    assert "Waits for room: 0/1 nodes" in condition(plan)[2]
    assert condition(plan, "Scheduled")[0] != "Unknown"
    assert deployments(plan) == {POOL.name: "1", CANARY.name: "2"}


@pytest.mark.parametrize("counted", [None, counts(calls=5)])
def test_a_canary_whose_pod_fails_says_so_by_its_reason_whether_calls_were_counted_before_or_not(
    counted: CanaryFact | None,
) -> None:
    words = "no such image, " * 200
    stuck = ContainerFact("engine", waiting="ImagePullBackOff", waiting_message=words)
    pod = PodFact("canary", "n", scheduled=True, revision=NEW, containers=[stuck])
    plan = plan_model(world(chat("2"), facts=trial(counted, pods={CANARY: [pod]})), KEY)
    status, reason, message = condition(plan)
    assert (status, reason) == ("False", "ImagePullFailed")
    assert "is tried as a canary: " in message
    assert "cannot be pulled: no such image" in message
    assert deployments(plan) == {POOL.name: "1", CANARY.name: "2"}


@pytest.mark.parametrize("late", [{"seconds": 301, "calls": 5}, {}])
def test_a_canary_without_a_verdict_within_the_deadline_is_told(late: dict[str, Any]) -> None:
    facts = trial(counts(**late)) if late else trial(pod=False)
    if not late:
        facts = replace(facts, deployments={**facts.deployments, CANARY: DeploymentFact(revision=NEW, overdue=True)})
    plan = plan_model(world(chat("2"), facts=facts), KEY)
    assert condition(plan)[:2] == ("False", "RolloutDeadlineExceeded")
    assert deployments(plan) == {POOL.name: "1", CANARY.name: "2"}


@pytest.mark.parametrize(("seconds", "reason"), [(301, "RolloutInProgress"), (601, "RolloutDeadlineExceeded")])
def test_a_canary_that_is_to_be_watched_for_longer_than_the_deadline_is_not_late_before_its_end(
    seconds: int, reason: str
) -> None:
    tried = chat("2")
    rollout = tried.spec.rollout.model_copy(update={"canary": SPEC.model_copy(update={"duration_seconds": 600})})
    tried = tried.model_copy(update={"spec": tried.spec.model_copy(update={"rollout": rollout})})
    facts = trial(counts(seconds=seconds, calls=5))
    assert condition(plan_model(world(tried, facts=facts), KEY))[:2] == ("False", reason)


def test_no_store_is_not_promised_while_a_canary_breaks_it() -> None:
    facts = trial(pods={CANARY: [PodFact("canary", ready=True, revision=NEW, prompt_cache="shared")]})
    found = world(chat("2", cache={"noStore": "Isolated"}), facts=facts)
    route = model_route(found, "acme/chat", "eu-west", claims(found.models))
    assert route is not None
    assert route.cache.no_store == "Refuse"


def test_a_route_promises_only_what_both_revisions_can_do_until_the_new_one_has_taken_over() -> None:
    def capabilities(found: World) -> tuple[bool, bool]:
        route = model_route(found, "acme/chat", "eu-west", claims(found.models))
        assert route is not None
        return route.capabilities.json_mode, route.capabilities.structured_output

    before = world(chat("1", capabilities={"jsonMode": True}), facts=Facts(deployments={POOL: stable()}))
    facts = Facts(deployments={POOL: stable()}, tables={"eu-west": table(before, 5)})
    changed = chat("2", capabilities={"jsonMode": False, "structuredOutput": True})
    tried = world(changed, facts=facts)
    assert capabilities(tried) == (False, False)
    failed = replace(tried, facts=replace(facts, tables={"eu-west": table(tried, 6)}))
    assert capabilities(failed) == (False, False), "also once the table says so"
    taken_over = replace(failed, facts=replace(failed.facts, deployments={POOL: stable("2")}))
    assert capabilities(taken_over) == (False, True)


@pytest.mark.parametrize(
    ("fact", "verdict", "words"),
    [
        (counts(calls=99, errors=99), "Pending", "1 more calls"),
        (counts(seconds=59), "Pending", "the end of its 60 s"),
        (counts(errors=2), "Promoted", "2.0 %"),
        (counts(errors=3), "RolledBack", "3 of its 100"),
        (counts(errors=3, seconds=1), "RolledBack", "3 of its 100"),
        (counts(errors=3, stable=CallCounts(1000, 10)), "Promoted", "1.0 % elsewhere"),
        (
            counts(canary=CallCounts(100, refused=10)),
            "RolledBack",
            "10 of its 100 calls were refused (10.0 %), 0.0 % else",
        ),
        (counts(canary=CallCounts(100, refused=9)), "Promoted", ""),
        (counts(canary=CallCounts(100, refused=26), stable=CallCounts(1000, refused=200)), "Promoted", ""),
        (counts(canary=CallCounts(100, refused=45), stable=CallCounts(1000, refused=200)), "RolledBack", "20.0 % else"),
        (counts(canary=CallCounts(100, refused=100), stable=CallCounts(1000, refused=1000)), "Promoted", ""),
        (counts(canary=CallCounts(100, refused=9), stable=CallCounts(0)), "Promoted", ""),
        (counts(unreadable=("b",)), "Pending", "gateway `b`, which cannot be read"),
        (counts(errors=3, unreadable=("b",)), "RolledBack", "3 of its 100"),
        (counts(canary=CallCounts(100, 0, 10, 1510), stable=CallCounts(900, 0, 10, 1000)), "RolledBack", "151 ms"),
        (counts(canary=CallCounts(100, 0, 10, 1500), stable=CallCounts(900, 0, 10, 1000)), "Promoted", ""),
        (
            counts(canary=CallCounts(100, 0, 10, 9000, 0, 8000), stable=CallCounts(900, 0, 10, 1000, 0, 1000)),
            "Promoted",
            "",
        ),
        (
            counts(canary=CallCounts(100, 0, 10, 9000, 0, 5000), stable=CallCounts(900, 0, 10, 1000, 0, 1000)),
            "RolledBack",
            "900 ms",
        ),
        (counts(canary=CallCounts(100, 0, 9, 9000), stable=CallCounts(900, 0, 10, 1000)), "Promoted", ""),
        (
            counts(canary=CallCounts(100, 0, 10, 9000), stable=CallCounts(9, 0, 10, 1000), unreadable=("b",)),
            "Pending",
            "cannot be read",
        ),
    ],
)
def test_a_verdict_needs_enough_calls_time_and_every_gateway(fact: CanaryFact, verdict: str, words: str) -> None:
    found = judge(SPEC, fact)
    assert found.verdict == verdict
    assert words in found.message


calls = st.integers(0, 500).flatmap(
    lambda count: st.builds(
        CallCounts, st.just(count), st.integers(0, count), st.integers(0, count), st.integers(0, 100_000)
    )
)


@settings(deadline=None)
@given(calls, calls, st.integers(0, 120), st.sampled_from([(), ("a",)]))
def test_nothing_is_promoted_on_missing_data_and_more_failures_never_help(
    new: CallCounts, old: CallCounts, seconds: int, unreadable: tuple[str, ...]
) -> None:
    fact = CanaryFact(NEW, seconds, new, old, unreadable)
    verdict = judge(SPEC, fact).verdict
    if unreadable or seconds < SPEC.duration_seconds or new.calls < SPEC.min_calls:
        assert verdict != "Promoted"
    if new.calls < SPEC.min_calls:
        assert verdict == "Pending"
    if verdict == "RolledBack":
        worse = replace(fact, canary=replace(new, errors=new.calls))
        assert judge(SPEC, worse).verdict != "Promoted"
