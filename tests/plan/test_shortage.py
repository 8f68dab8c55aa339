"""GPUs that pods wait for: what they need and what is free, as fields."""

from collections.abc import Sequence

import pytest

from tests.plan.specs import KEY, model, region, world
from tomoul.api.modelstatus import RegionModelStatus
from tomoul.api.region import AcceleratorCapacity, RegionStatus
from tomoul.plan.judge import Rollout
from tomoul.plan.model import plan_model
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.shortage import shortage
from tomoul.plan.world import Facts, Key, NodeFact

POOL = Key("models", pool_name("chat", "eu-west", "default"))
NODES = [NodeFact("n1", allocatable={"nvidia.com/gpu": 8}), NodeFact("n2", allocatable={"nvidia.com/gpu": 8})]
PLACED = PodFact("placed", node="n1", scheduled=True, ready=True, requests={"nvidia.com/gpu": 4})
PENDING = PodFact("pending", unschedulable="0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
GPUS = {"accelerator": "nvidia-l4", "count": 4}


def row(*pods: PodFact, nodes: Sequence[NodeFact] = NODES) -> RegionModelStatus:
    deployment = model(resources=GPUS, regions=[{"name": "eu-west", "replicas": 3}])
    facts = Facts(pods={POOL: pods}, nodes=nodes)
    return plan_model(world(deployment, facts=facts), KEY).status.regions[0]


def test_the_gpus_of_all_pods_without_a_node_are_needed_and_those_that_no_pod_requests_are_free() -> None:
    judged = row(PLACED, PENDING)
    assert (judged.gpus_needed, judged.gpus_free) == (8, 12), "one pod waits and one is not created yet"
    told = next(entry for entry in judged.conditions if entry.type == "Scheduled")
    assert told.message == (
        "Pod `pending`: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu; 8 GPUs are needed, 4 × `nvidia-l4` "
        "(nvidia.com/gpu) for each replica; 12 of 16 are not requested by Tomoul's models"
    )


def test_pods_that_hold_gpus_which_have_vanished_hold_none_of_other_nodes() -> None:
    broken = [NodeFact("n1", allocatable={"nvidia.com/gpu": 0}), NODES[1]]
    judged = row(PLACED, PENDING, nodes=broken)
    assert (judged.gpus_needed, judged.gpus_free) == (8, 8)


def test_gpus_that_are_free_and_too_few_on_each_node_are_told_as_that() -> None:
    halves = [NodeFact(name, allocatable={"nvidia.com/gpu": 2}) for name in ("n1", "n2", "n3")]
    told = next(entry for entry in row(PENDING, nodes=halves).conditions if entry.type == "Scheduled")
    assert told.message.endswith("; 6 of 6 are not requested by Tomoul's models, and at most 2 of them are on one node")


def test_where_no_node_has_such_gpus_it_is_said_what_to_look_at() -> None:
    told = next(entry for entry in row(PENDING, nodes=NODES[:0]).conditions if entry.type == "Scheduled")
    assert told.message.endswith(
        "; no node that the Region's `placement` selects, and that is ready and not cordoned, has any: see the nodes' "
        "labels and device plugin"
    )


def test_where_no_node_has_a_label_of_the_placement_the_label_is_named() -> None:
    placement = {"nodeSelector": {"topology.kubernetes.io/region": "eu-west", "pool": "gpu"}}
    deployment = model(regions=[{"name": "eu-west", "replicas": 1}])

    def told(*labels: dict[str, str]) -> str:
        nodes = [NodeFact(f"n{index}", labels=each) for index, each in enumerate(labels)]
        facts = Facts(pods={POOL: [PENDING]}, nodes=nodes)
        found = world(deployment, regions=(region(placement=placement),), facts=facts)
        judged = plan_model(found, KEY).status.regions[0]
        return next(entry.message for entry in judged.conditions if entry.type == "Scheduled")

    here, gpu = {"topology.kubernetes.io/region": "eu-west"}, {"pool": "gpu"}
    asked = "as the Region's `placement.nodeSelector` asks"
    assert told(gpu, {}).endswith(f"; no node has `topology.kubernetes.io/region=eu-west`, {asked}")
    assert told(gpu, here).endswith(f"; no node has `pool=gpu` and `topology.kubernetes.io/region=eu-west`, {asked}")
    assert asked not in told(gpu, here | gpu), "there it is for another reason"


def test_capacity_is_not_told_where_none_is_missing() -> None:
    judged = row(PLACED)
    assert (judged.gpus_needed, judged.gpus_free) == (None, None)


@pytest.mark.parametrize(
    ("wanted", "pods", "needed"),
    [
        (1, [PLACED], None),
        (1, [PLACED, PENDING], 4),
        (2, [PLACED], 4),
        (0, [], None),
    ],
)
def test_a_pod_that_a_rollout_has_more_counts_too(wanted: int, pods: Sequence[PodFact], needed: int | None) -> None:
    deployment = model(resources=GPUS)
    found = shortage(
        world(deployment, facts=Facts(nodes=NODES)), deployment, region(), [Rollout("r", wanted, None, pods)]
    )
    assert (found.needed if found is not None else None) == needed


def test_a_model_without_gpus_lacks_none() -> None:
    deployment = model()
    assert shortage(world(deployment), deployment, region(), [Rollout("r", 1, None, [])]) is None


def test_of_a_model_that_is_pinned_to_one_product_only_gpus_of_that_product_are_free() -> None:
    label = "nvidia.com/gpu.product"
    kinds = {"n1": "NVIDIA-L4", "n2": "NVIDIA-L40S", "n3": "NVIDIA-L4"}
    nodes = [NodeFact(name, {label: kind}, allocatable={"nvidia.com/gpu": 8}) for name, kind in kinds.items()]
    placement = {"accelerators": [{"name": "nvidia-l4", "product": "NVIDIA-L4"}]}
    told = AcceleratorCapacity(name="nvidia-l4", allocatable=24, requested=4, free=20, most_free=8)
    known = region(placement=placement).model_copy(update={"status": RegionStatus(accelerators=(told,))})
    engine = {"type": "VLLM", "image": f"vllm/vllm-openai:v0.32.0@sha256:{'a' * 64}"}
    pinned = model(resources=GPUS, engine=engine, capabilities={"seed": "Deterministic"})
    for deployment, free, allocatable in ((pinned, 12, 16), (model(resources=GPUS), 20, 24)):
        facts = Facts(pods={POOL: [PLACED]}, nodes=nodes)
        found = shortage(world(deployment, facts=facts), deployment, known, [Rollout("r", 1, None, [])])
        assert found is not None
        assert (found.free, found.allocatable) == (free, allocatable), str(found)


def test_what_the_region_tells_of_its_capacity_is_told_of_its_models_too() -> None:
    told = AcceleratorCapacity(name="nvidia-l4", allocatable=8, requested=3, free=5, most_free=5)
    known = region().model_copy(update={"status": RegionStatus(accelerators=(told,))})
    deployment = model(resources=GPUS)
    found = shortage(world(deployment), deployment, known, [Rollout("r", 1, None, [])])
    assert found is not None
    assert (found.needed, found.free, found.allocatable) == (4, 5, 8)
