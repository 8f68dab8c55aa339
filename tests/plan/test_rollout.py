"""Which strategy a rollout has, whatever becomes of the cluster meanwhile."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.specs import KEY, model, region, world
from tests.plan.worlds import POOL
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.api.rollout import RolloutReason, RolloutStatus, RolloutStrategy
from tomoul.plan.model import ModelPlan, plan_model
from tomoul.plan.multinode import LWS_API
from tomoul.plan.podfact import ContainerFact, PodFact
from tomoul.plan.revision import revision_of
from tomoul.plan.world import ApiFact, DeploymentFact, Facts, Manifest, NodeFact, World

GPUS = {"nvidia.com/gpu": 2}
OLD = "0123456789"


def chat(strategy: str = "Auto") -> ModelDeployment:
    return model(
        resources={"accelerator": "nvidia-l4", "count": 2},
        regions=[{"name": "eu-west", "replicas": 2}],
        rollout={"strategy": strategy},
    )


def planned(facts: Facts, strategy: str = "Auto", before: RolloutStatus | None = None) -> ModelPlan:
    deployment = chat(strategy)
    status = ModelDeploymentStatus(regions=(RegionModelStatus(name="eu-west", rollout=before),))
    return plan_model(world(deployment.model_copy(update={"status": status}), facts=facts), KEY)


def rollout(found: ModelPlan) -> RolloutStatus:
    told = found.status.regions[0].rollout
    assert told is not None
    (deployment,) = [obj for obj in found.objects if obj["kind"] == "Deployment"]
    surge = {"maxSurge": 1, "maxUnavailable": 0}
    applied = deployment["spec"]["strategy"]["rollingUpdate"]
    assert (applied == surge) is (told.strategy == RolloutStrategy.SURGE), "what is told is what is applied"
    assert deployment["spec"]["template"]["metadata"]["labels"]["tomoul.ai/revision"] == told.revision
    return told


def fact(revision: str, **fields: object) -> DeploymentFact:
    return replace(DeploymentFact(1, 1, replicas=2, updated=2, ready=2, total=2), revision=revision, **fields)  # type: ignore[arg-type]


def old_pods(count: int = 2) -> list[PodFact]:
    return [
        PodFact(f"old-{n}", "n", "Running", ready=True, scheduled=True, revision=OLD, requests=GPUS)
        for n in range(count)
    ]


def nodes(gpus: int) -> list[NodeFact]:
    return [NodeFact("n", allocatable={"nvidia.com/gpu": gpus})]


def test_a_first_revision_has_nothing_to_replace() -> None:
    found = rollout(planned(Facts(nodes=nodes(8))))
    assert (found.strategy, found.reason, found.phase) == ("Replace", RolloutReason.NOTHING_TO_REPLACE, "Progressing")


def test_a_strategy_that_is_asked_for_is_kept_whatever_fits() -> None:
    facts = Facts(deployments={POOL: fact(OLD)}, pods={POOL: old_pods()}, nodes=nodes(4))
    assert rollout(planned(facts, "Surge")).strategy == "Surge"
    assert rollout(planned(replace(facts, nodes=nodes(8)), "Replace")).strategy == "Replace"
    assert rollout(planned(facts, "Surge")).reason == RolloutReason.REQUESTED


def test_a_pool_that_is_scaled_to_zero_has_nothing_to_replace() -> None:
    facts = Facts(deployments={POOL: DeploymentFact(1, 1, revision=OLD)}, nodes=nodes(8))
    assert rollout(planned(facts)).reason == RolloutReason.NOTHING_TO_REPLACE


node_lists = st.lists(
    st.builds(
        NodeFact,
        name=st.sampled_from(["n", "m", "o"]),
        ready=st.booleans(),
        allocatable=st.builds(lambda gpus: {"nvidia.com/gpu": gpus}, st.integers(0, 8)),
    ),
    unique_by=lambda node: node.name,
)
pod_lists = st.lists(
    st.builds(
        PodFact,
        name=st.just("p"),
        node=st.sampled_from(["n", "m", "o"]),
        scheduled=st.just(True),
        phase=st.sampled_from(["Running", "Failed"]),
        terminating=st.booleans(),
        revision=st.just(OLD),
        requests=st.builds(lambda gpus: {"nvidia.com/gpu": gpus}, st.integers(0, 4)),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(node_lists, pod_lists)
def test_auto_surges_just_where_a_whole_replica_is_free_on_one_node(known: list[NodeFact], pods: list[PodFact]) -> None:
    found = rollout(planned(Facts(deployments={POOL: fact(OLD)}, pods={POOL: pods}, nodes=known)))
    free = [
        node.allocatable["nvidia.com/gpu"]
        - sum(pod.requests["nvidia.com/gpu"] for pod in pods if pod.node == node.name and pod.phase == "Running")
        for node in known
        if node.ready
    ]
    assert (found.strategy == "Surge") is (max(free, default=0) >= 2)


@settings(deadline=None)
@given(node_lists, pod_lists, node_lists, pod_lists, st.booleans())
def test_a_choice_holds_until_its_revision_has_taken_over_whatever_becomes_free_or_full(
    first: list[NodeFact], pods: list[PodFact], later: list[NodeFact], others: list[PodFact], told: bool
) -> None:
    chosen = rollout(planned(Facts(deployments={POOL: fact(OLD)}, pods={POOL: pods}, nodes=first)))
    applied = fact(chosen.revision, surge=chosen.strategy == "Surge", updated=1, total=3)
    after = Facts(deployments={POOL: applied}, pods={POOL: others}, nodes=later)
    again = rollout(planned(after, before=chosen if told else None))
    assert again.strategy == chosen.strategy
    assert (again.reason, again.message) == ((chosen.reason, chosen.message) if told else ("Unrecorded", ""))


def refused(revision: str) -> PodFact:
    return PodFact("new", revision=revision, unschedulable="0/1 nodes are available.", requests=GPUS)


def test_a_surge_that_finds_no_node_becomes_a_replacement_and_never_a_surge_again() -> None:
    wanted = rollout(planned(Facts())).revision
    stuck = Facts(
        deployments={POOL: fact(wanted, surge=True, updated=1, total=3)},
        pods={POOL: [*old_pods(), refused(wanted)]},
        nodes=nodes(8),
    )
    switched = rollout(planned(stuck))
    assert (switched.strategy, switched.reason) == ("Replace", RolloutReason.SURGE_UNSCHEDULABLE)
    assert "0/1 nodes are available" in switched.message
    free = replace(stuck, deployments={POOL: fact(wanted, updated=1, total=3)}, nodes=nodes(64))
    again = rollout(planned(free, before=switched))
    assert (again.strategy, again.reason, again.message) == (switched.strategy, switched.reason, switched.message)


def test_a_scheduler_that_says_much_keeps_no_surge_from_becoming_a_replacement_and_gpus_are_told_all_the_same() -> None:
    wanted = rollout(planned(Facts())).revision
    taints = ", ".join(
        f"1 node(s) had untolerated taint {{team-{number}.example.com/gpu: yes}}" for number in range(40)
    )
    stuck = PodFact("new", unschedulable=f"0/400 nodes are available: {taints}.", revision=wanted, requests=GPUS)
    fitting = fact(wanted, surge=True, updated=1, total=3)
    found = planned(Facts(deployments={POOL: fitting}, pods={POOL: [*old_pods(), stuck]}, nodes=nodes(4)))
    told = rollout(found)
    assert (told.strategy, told.reason) == ("Replace", RolloutReason.SURGE_UNSCHEDULABLE)
    (placed,) = [entry for entry in found.status.regions[0].conditions if entry.type == "Scheduled"]
    assert "0/400 nodes are available" in placed.message
    assert placed.message.endswith("0 of 4 are not requested by Tomoul's models")


def test_a_surge_goes_on_while_an_old_pod_that_drains_keeps_the_next_ones_place() -> None:
    wanted = rollout(planned(Facts())).revision
    surged = PodFact("first", "n", "Running", True, scheduled=True, revision=wanted, requests=GPUS)
    ended, *others = old_pods()
    drains = replace(ended, scheduled=True, terminating=True)
    waiting = Facts(
        deployments={POOL: fact(wanted, surge=True, updated=2, total=3)},
        pods={POOL: [surged, drains, *others, refused(wanted)]},
        nodes=nodes(8),
    )
    assert rollout(planned(waiting)).strategy == "Surge"
    gone = replace(waiting, pods={POOL: [surged, *others, refused(wanted)]})
    assert rollout(planned(gone)).strategy == "Surge", "the scheduler has not looked again"


def test_a_surge_whose_place_a_former_pod_holds_that_is_not_ready_becomes_a_replacement() -> None:
    """Going back from a broken revision: a Deployment that surges takes away none but ready pods."""
    wanted = rollout(planned(Facts())).revision
    served = PodFact("served", "n", "Running", True, scheduled=True, revision=wanted, requests=GPUS)
    broken = PodFact("broken", "n", scheduled=True, revision=OLD, requests=GPUS)
    stuck = Facts(
        deployments={POOL: fact(wanted, surge=True, updated=2, total=3, ready=1)},
        pods={POOL: [served, broken, refused(wanted)]},
        nodes=nodes(4),
    )
    switched = rollout(planned(stuck))
    assert (switched.strategy, switched.reason) == ("Replace", RolloutReason.SURGE_UNSCHEDULABLE)
    going = replace(stuck, pods={POOL: [served, replace(broken, terminating=True), refused(wanted)]})
    assert rollout(planned(going)).strategy == "Surge", "it leaves its place"


def test_a_surge_waits_for_no_pod_that_ends_on_a_node_that_is_lost() -> None:
    wanted = rollout(planned(Facts())).revision
    ending = PodFact("ending", "lost", "Running", terminating=True, scheduled=True, revision=OLD, requests=GPUS)
    facts = Facts(
        deployments={POOL: fact(wanted, surge=True, updated=1, total=3)},
        pods={POOL: [*old_pods(), refused(wanted), ending]},
        nodes=[*nodes(4), NodeFact("lost")],
    )
    assert rollout(planned(facts)).strategy == "Surge"
    lost = replace(facts, nodes=[*nodes(4), NodeFact("lost", ready=False, reachable=False)])
    assert rollout(planned(lost)).strategy == "Replace"


def test_a_surge_that_was_asked_for_waits_for_its_node() -> None:
    wanted = rollout(planned(Facts(), "Surge")).revision
    pods = [*old_pods(), refused(wanted)]
    stuck = Facts(deployments={POOL: fact(wanted, surge=True, updated=1, total=3)}, pods={POOL: pods})
    assert rollout(planned(stuck, "Surge")).strategy == "Surge"


def test_pods_that_are_added_and_find_no_node_change_no_strategy() -> None:
    wanted = rollout(planned(Facts())).revision
    scaled = Facts(deployments={POOL: fact(wanted, surge=True, updated=3, total=3)}, pods={POOL: [refused(wanted)]})
    assert rollout(planned(scaled)).strategy == "Surge"


def test_going_back_is_a_rollout_of_its_own_that_takes_what_room_there_is() -> None:
    wanted = rollout(planned(Facts())).revision
    half = Facts(
        deployments={POOL: fact(OLD, updated=1, ready=1)},
        pods={POOL: [PodFact("ours", "n", "Running", True, revision=wanted, requests=GPUS), *old_pods(1)]},
        nodes=nodes(4),
    )
    assert rollout(planned(half)).strategy == "Replace", "a surge could wait for ever for GPUs that the other one holds"
    assert rollout(planned(replace(half, nodes=nodes(6)))).strategy == "Surge"


def test_phases_go_from_progressing_to_complete_or_stalled() -> None:
    wanted = rollout(planned(Facts())).revision

    def phase(deployment: DeploymentFact) -> str:
        return rollout(planned(Facts(deployments={POOL: deployment}))).phase

    assert phase(fact(OLD)) == "Progressing"
    assert phase(fact(wanted, updated=1, total=3)) == "Progressing"
    assert phase(fact(wanted, ready=1)) == "Progressing"
    assert phase(fact(wanted, generation=2)) == "Progressing"
    assert phase(fact(wanted)) == "Complete"
    assert phase(fact(wanted, updated=1, overdue=True)) == "Stalled"


def test_what_a_person_must_do_about_a_late_rollout_is_not_hidden_by_it() -> None:
    wanted = rollout(planned(Facts())).revision
    container = ContainerFact("engine", waiting="ImagePullBackOff", waiting_message="no such image")
    failing = PodFact("new", "n", scheduled=True, revision=wanted, containers=[container])
    facts = Facts(deployments={POOL: fact(wanted, updated=1, overdue=True)}, pods={POOL: [*old_pods(1), failing]})
    (told,) = [c for c in planned(facts).status.regions[0].conditions if c.type == "WorkloadReady"]
    assert told.reason == "RolloutDeadlineExceeded"
    assert "no such image" in told.message


def test_a_first_revision_that_loads_past_its_deadline_is_told_as_late_by_its_readiness_too() -> None:
    wanted = rollout(planned(Facts())).revision
    container = ContainerFact("engine", running_since=datetime(2026, 1, 1, tzinfo=UTC))
    loading = [PodFact(f"p{n}", "n", scheduled=True, revision=wanted, containers=[container]) for n in range(2)]

    def ready(*, overdue: bool) -> Condition:
        deployed = fact(wanted, ready=0, overdue=overdue)
        found = planned(Facts(deployments={POOL: deployed}, pods={POOL: loading}))
        return next(entry for entry in found.status.regions[0].conditions if entry.type == "Ready")

    assert ready(overdue=False).reason == "ModelLoading"
    late = ready(overdue=True)
    assert late.reason == "RolloutDeadlineExceeded"
    assert "pod `p0` runs `engine` since 2026-01-01T00:00:00Z, which has not answered yet" in late.message


def test_the_deadline_and_the_drain_of_the_spec_are_the_pods() -> None:
    deployment = model(rollout={"deadlineSeconds": 77, "drainSeconds": 30})
    found = plan_model(World(regions={"eu-west": region()}, models={KEY: deployment}), KEY)
    (applied,) = [obj for obj in found.objects if obj["kind"] == "Deployment"]
    assert applied["spec"]["progressDeadlineSeconds"] == 77
    pod = applied["spec"]["template"]["spec"]
    hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[-2:] == ["5", "30"], "five seconds until no gateway sends it calls any more, then the drain"
    assert pod["terminationGracePeriodSeconds"] == 45


def upgraded(deployment: ModelDeployment, begun: bool, *, nodes: int = 1) -> tuple[Manifest, Manifest]:
    """What an operator applied, and what its successor does, with pods whose engines have begun or have not."""
    found = world(deployment, facts=Facts(apis={LWS_API: ApiFact()}))
    kind = "Deployment" if nodes == 1 else "LeaderWorkerSet"
    field = "template" if nodes == 1 else "leaderWorkerTemplate"
    (applied,) = [obj for obj in plan_model(found, KEY).objects if obj["kind"] == kind]
    template = applied["spec"][field]
    live = fact(revision_of(template), template=json.dumps(template), size=nodes)
    engine = ContainerFact("engine", running_since=datetime(2026, 1, 1, tzinfo=UTC) if begun else None)
    pods = {POOL: [PodFact("a", containers=(ContainerFact("loader", init=True), engine))]}
    facts = replace(found.facts, pods=pods, **{"deployments" if nodes == 1 else "group_sets": {POOL: live}})
    newer = replace(found.settings, operator_image="example.com/operator:2")
    (applies,) = [
        obj for obj in plan_model(replace(found, settings=newer, facts=facts), KEY).objects if obj["kind"] == kind
    ]
    return applied, applies


HF = {"hf": {"repo": "acme/chat", "revision": "0" * 40}}


def test_an_upgrade_of_the_operator_whose_image_loaders_have_replaces_no_engine_that_has_begun() -> None:
    before, after = upgraded(model(source=HF), begun=True)
    assert before == after
    several = model(source=HF, resources={"accelerator": "nvidia-l4", "count": 1, "nodes": 2})
    before, after = upgraded(several, begun=True, nodes=2)
    assert before == after


def test_loaders_that_no_engine_has_begun_after_are_those_of_the_newest_operator() -> None:
    before, after = upgraded(model(source=HF), begun=False)
    images = [each["spec"]["template"]["spec"]["initContainers"][0]["image"] for each in (before, after)]
    assert images == ["tomoul/operator:0.1.0", "example.com/operator:2"]
