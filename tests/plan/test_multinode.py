"""A replica that is several pods: what takes over from what, what it needs, and which of its pods counts as what."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.specs import KEY, model, region, world
from tests.plan.worlds import POOL
from tomoul.api.conditions import ConditionType
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.api.rollout import RolloutReason, RolloutStatus, RolloutStrategy
from tomoul.plan.capacity import Demand
from tomoul.plan.diff import Action, GpuTotal, diff_worlds
from tomoul.plan.failures import failure_of
from tomoul.plan.groups import pool_template
from tomoul.plan.labels import replica_selector
from tomoul.plan.model import ModelPlan, plan_model
from tomoul.plan.naming import MAX_GROUP_SET_NAME, group_set_name, pool_name, workers_name, workload_name
from tomoul.plan.podfact import ContainerFact, PodFact, Termination
from tomoul.plan.revision import revision_of
from tomoul.plan.seeds import planned_seeds
from tomoul.plan.settings import Settings
from tomoul.plan.world import DeploymentFact, Facts, NodeFact

GPUS = {"nvidia.com/gpu": 2}
SERVING = DeploymentFact(1, 1, replicas=2, updated=2, ready=2, total=2, revision="0123456789")
MADE = ("Deployment", pool_name("chat", "eu-west", "default"))
GROUPED = ("LeaderWorkerSet", group_set_name("chat", "eu-west", "default"))


def chat(nodes: int = 2, strategy: str = "Auto", **fields: Any) -> ModelDeployment:
    return model(
        resources={"accelerator": "nvidia-l4", "count": 2, "nodes": nodes},
        **{"regions": [{"name": "eu-west", "replicas": 2}], "rollout": {"strategy": strategy}, **fields},
    )


def planned(found: ModelDeployment, before: RolloutStatus | None = None, **facts: Any) -> ModelPlan:
    status = ModelDeploymentStatus(regions=(RegionModelStatus(name="eu-west", rollout=before),))
    return plan_model(world(found.model_copy(update={"status": status}), facts=Facts(**facts)), KEY)


def said(found: ModelPlan, kind: ConditionType) -> str:
    (row,) = found.status.regions
    (entry,) = [each for each in row.conditions if each.type == kind]
    return f"{entry.status} {entry.reason}: {entry.message}"


def kept(nodes: int, strategy: str = "Auto", **facts: Any) -> frozenset[tuple[str, str]]:
    found = planned(chat(nodes, strategy), **facts)
    kinds = {(obj["kind"], obj["metadata"]["name"]) for obj in found.objects}
    assert (GROUPED in kinds, MADE in kinds) == ((True, False) if nodes > 1 else (False, True))
    return found.still_serving


def some_ready(ready: int) -> DeploymentFact:
    return replace(SERVING, ready=ready, revision="new")


def test_single_pods_serve_on_until_as_many_groups_do() -> None:
    single = {POOL: SERVING}
    assert kept(2, deployments=single) == {MADE}
    assert kept(2, deployments=single, group_sets={POOL: some_ready(1)}) == {MADE}
    assert kept(2, deployments=single, group_sets={POOL: some_ready(2)}) == frozenset()


def test_groups_serve_on_until_as_many_single_pods_do() -> None:
    groups = {POOL: replace(SERVING, size=2)}
    assert kept(1, group_sets=groups) == {GROUPED}
    assert kept(1, group_sets=groups, deployments={POOL: some_ready(1)}) == {GROUPED}
    assert kept(1, group_sets=groups, deployments={POOL: some_ready(2)}) == frozenset()


def test_the_pods_of_groups_reach_each_other_until_the_last_of_them_has_ended() -> None:
    def together(**facts: Any) -> tuple[bool, bool]:
        """Whether the leaders' policy admits workers, and whether workers have one."""
        found = {
            obj["metadata"]["name"]: obj for obj in planned(chat(1), **facts).objects if obj["kind"] == "NetworkPolicy"
        }
        rules = found[workload_name("chat", "eu-west")]["spec"]["ingress"]
        peers = [peer for rule in rules for peer in rule["from"]]
        admits = {"podSelector": {"matchLabels": replica_selector("chat", "eu-west")}} in peers
        return admits, workers_name("chat", "eu-west") in found

    assert together() == (False, False)
    assert together(group_sets={POOL: replace(SERVING, size=2)}) == (True, True)
    ending = PodFact("w", "n", "Running", ready=True, scheduled=True, terminating=True, group_index=1)
    assert together(pods={POOL: [ending]}) == (True, True)
    assert together(pods={POOL: [replace(ending, phase="Failed")]}) == (False, False)


def test_what_serves_nobody_or_is_to_be_replaced_makes_room_at_once() -> None:
    assert kept(2, deployments={POOL: replace(SERVING, ready=0)}) == frozenset()
    assert kept(2, "Replace", deployments={POOL: SERVING}) == frozenset()
    assert kept(1, "Replace", group_sets={POOL: SERVING}) == frozenset()


def test_the_status_says_that_the_former_pods_answer_while_groups_start() -> None:
    pods = [PodFact("old", "n", "Running", ready=True, scheduled=True, revision=SERVING.revision)]
    found = planned(chat(), deployments={POOL: SERVING}, group_sets={POOL: some_ready(0)}, pods={POOL: pods})
    assert said(found, ConditionType.MODEL_READY).startswith("True EngineAnswered")
    told = said(found, ConditionType.WORKLOAD_READY)
    assert told.startswith(f"False RolloutInProgress: 2 of 2 replicas of `{POOL.name}` are ready (0 of the newest")
    assert said(found, ConditionType.SCHEDULED).startswith("False WaitingForPods: 4 of 4 pods")


def test_a_worker_that_runs_does_not_count_as_an_engine_that_has_answered() -> None:
    running = ContainerFact("engine", started=True)
    worker = PodFact("w", "n", "Running", ready=True, scheduled=True, containers=[running], group_index=1)
    leader = PodFact("l", "n", "Running", scheduled=True, containers=[ContainerFact("engine")], group_index=0)
    facts = {"group_sets": {POOL: some_ready(0)}, "pods": {POOL: [leader, worker]}}
    assert said(planned(chat(), **facts), ConditionType.MODEL_READY).startswith("False ModelLoading")


def test_a_canary_of_a_group_is_a_group_with_all_pods_in_its_own_pool() -> None:
    template = pool_template(chat(), region(), "default", Settings())
    fact = replace(SERVING, template='{"leaderTemplate": {"metadata": {"labels": {}}}, "size": 4}', size=4)
    found = planned(chat(rollout={"canary": {"weight": 5}}), group_sets={POOL: fact})
    sets = {obj["metadata"]["labels"]["tomoul.ai/pool"]: obj for obj in found.objects if obj["kind"] == GROUPED[0]}
    assert sets["default"]["spec"]["leaderWorkerTemplate"]["size"] == 4, "the old groups keep what they are made from"
    canary = sets["canary"]["spec"]
    assert canary["replicas"] == 1
    for name in ("leaderTemplate", "workerTemplate"):
        labels = canary["leaderWorkerTemplate"][name]["metadata"]["labels"]
        assert (labels["tomoul.ai/pool"], labels["tomoul.ai/revision"]) == ("canary", revision_of(template))


def nodes(*gpus: int) -> list[NodeFact]:
    return [NodeFact(f"n{index}", allocatable={"nvidia.com/gpu": count}) for index, count in enumerate(gpus)]


@pytest.mark.parametrize(("free", "reason"), [((2, 2), RolloutReason.REPLICA_FITS), ((3, 1), RolloutReason.NO_ROOM)])
def test_a_group_surges_only_where_all_of_its_pods_fit(free: Sequence[int], reason: RolloutReason) -> None:
    found = planned(chat(), group_sets={POOL: SERVING}, nodes=nodes(*free))
    told = found.status.regions[0].rollout
    assert told is not None
    assert told.reason == reason
    (made,) = [obj for obj in found.objects if obj["kind"] == GROUPED[0]]
    surge = {"maxSurge": 1, "maxUnavailable": 0}
    applied = made["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]
    assert (applied == surge) is (reason is RolloutReason.REPLICA_FITS)


def test_a_surge_of_which_only_a_part_finds_a_node_becomes_a_replacement() -> None:
    revision = revision_of(pool_template(chat(), region(), "default", Settings()))
    surging = DeploymentFact(1, 1, replicas=2, updated=1, ready=2, total=3, revision=revision, surge=True, size=2)
    leader = PodFact("chat-2", "n0", scheduled=True, revision=revision, group_index=0)
    worker = PodFact("chat-2-1", unschedulable="0/2 nodes are available", revision=revision, group_index=1)

    def strategy(*pods: PodFact) -> str:
        told = planned(chat(), group_sets={POOL: surging}, pods={POOL: list(pods)}).status.regions[0].rollout
        assert told is not None
        return told.strategy

    assert strategy(leader, worker) == RolloutStrategy.REPLACE
    assert strategy(replace(leader, ready=True), worker) == RolloutStrategy.SURGE


def test_gpus_are_counted_for_all_pods_of_a_replica() -> None:
    (diff,) = diff_worlds(world(chat(1)), world(chat(2))).regions
    assert diff.gpus == (GpuTotal("nvidia-l4", Demand(4, 4), Demand(8, 8)),)
    changes = {(change.kind, change.name): change.action for change in diff.objects}
    assert (changes[MADE], changes[GROUPED]) == (Action.REMOVE, Action.CREATE)


def test_all_pods_of_a_group_run_on_the_one_product_that_the_region_names() -> None:
    accelerators = [{"name": "nvidia-l4", "product": "NVIDIA-L4"}]
    placed = region(placement={"accelerators": accelerators})

    def selectors(nodes: int) -> list[Mapping[str, str] | None]:
        template = pool_template(chat(nodes), placed, "default", Settings())
        pods = [template] if nodes == 1 else [template["leaderTemplate"], template["workerTemplate"]]
        return [pod["spec"].get("nodeSelector") for pod in pods]

    assert selectors(2) == [{"nvidia.com/gpu.product": "NVIDIA-L4"}] * 2
    assert selectors(1) == [None]


def test_seeds_are_best_effort_on_several_nodes() -> None:
    asked = {"capabilities": {"seed": "Deterministic"}}
    (obstacle,) = {planned_seeds(chat(2, **asked).spec, region(), Settings()).obstacle}
    assert obstacle is not None
    assert "`spec.resources.nodes: 1`" in obstacle.message


def test_a_group_that_ends_because_of_one_pod_has_that_pods_words() -> None:
    died = ContainerFact(
        "engine", started=True, waiting="CrashLoopBackOff", ended=Termination(1, "Error", "NCCL error")
    )
    worker = PodFact("chat-0-1", "n", "Running", terminating=True, scheduled=True, containers=[died], group_index=1)
    # Told to end, and ended with what its engine makes of that.
    told = ContainerFact("engine", ended=Termination(1, "Error", "KeyboardInterrupt"))
    leader = PodFact("chat-0", "n", "Running", terminating=True, scheduled=True, containers=[told], group_index=0)
    assert failure_of([leader], ()) is None
    failure = failure_of([leader, worker], ())
    assert failure is not None
    assert "Pod `chat-0-1`: container `engine` ended with exit code 1: NCCL error" in failure.message
    assert failure_of([replace(worker, group_index=None)], ()) is None, "of a Deployment it is an old pod that goes"


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True), st.sampled_from(["eu-west", "a" * 32]))
def test_a_leaderworkersets_name_leaves_room_for_its_pods_and_is_not_its_services(name: str, place: str) -> None:
    made = group_set_name(name, place, "default")
    assert len(made) <= MAX_GROUP_SET_NAME
    # A StatefulSet of the thousandth group puts this into a label, which has 63 characters at most.
    assert len(f"{made}-999-{'0' * 10}") <= 63
    assert made not in (pool_name(name, place, "default"), group_set_name(name, place, "no-store"))
