"""What is counted of a node, and whether a pod fits."""

import pytest

from tomoul.plan.podfact import PodFact
from tomoul.plan.quantity import amounts, millicores, whole
from tomoul.plan.room import room_for
from tomoul.plan.world import Facts, Key, NodeFact, Taint


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("1", 1),
        ("16Gi", 2**34),
        ("1.5Gi", 3 * 2**29),
        ("1G", 10**9),
        ("1e3", 1000),
        ("128974848", 128974848),
        ("1k", 1000),
    ],
)
def test_memory_is_counted_in_bytes(text: str, bytes_: int) -> None:
    assert whole(text) == bytes_


@pytest.mark.parametrize(("text", "count"), [("1", 1000), ("0.5", 500), ("250m", 250), ("100u", 1), ("1.0005", 1001)])
def test_cpu_is_counted_in_thousandths_rounded_up(text: str, count: int) -> None:
    assert millicores(text) == count


@pytest.mark.parametrize("text", ["", "Gi", "1Zi", "one"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        whole(text)


def test_only_what_pods_can_be_short_of_here_is_counted() -> None:
    listed = {"cpu": "2", "memory": "1Ki", "nvidia.com/gpu": "4", "pods": "110", "ephemeral-storage": "1Ti"}
    assert amounts(listed) == {"cpu": 2000, "memory": 1024, "nvidia.com/gpu": 4}


def template(**spec: object) -> dict[str, object]:
    requests = {"nvidia.com/gpu": "2", "cpu": "1"}
    return {"spec": {"containers": [{"resources": {"requests": requests}}], **spec}}


def node(name: str = "n", gpus: int = 4, **fields: object) -> NodeFact:
    return NodeFact(name, allocatable={"nvidia.com/gpu": gpus, "cpu": 8000}, **fields)  # type: ignore[arg-type]


def holds(node: str, gpus: int, phase: str = "Running", terminating: bool = False) -> PodFact:
    return PodFact("p", node, phase, terminating=terminating, requests={"nvidia.com/gpu": gpus})


@pytest.mark.parametrize(
    ("nodes", "pods", "fits"),
    [
        ([node()], [], True),
        ([], [], False),
        ([node()], [holds("n", 2)], True),
        ([node()], [holds("n", 3)], False),
        ([node()], [holds("n", 2), holds("n", 1)], False),
        ([node()], [holds("n", 3, terminating=True)], False),
        ([node()], [holds("n", 3, phase="Succeeded")], True),
        ([node()], [holds("other", 3)], True),
        ([node(gpus=1), node("m", gpus=1)], [], False),
        ([node(ready=False)], [], False),
        ([node(taints=(Taint("gpu", "", "NoSchedule"),))], [], False),
        ([node(taints=(Taint("gpu", "", "PreferNoSchedule"),))], [], True),
        ([NodeFact("n", allocatable={"nvidia.com/gpu": 4, "cpu": 999})], [], False),
    ],
)
def test_a_pod_fits_where_one_node_has_all_of_it_free(nodes: list[NodeFact], pods: list[PodFact], fits: bool) -> None:
    assert room_for(Facts(nodes=nodes, pods={Key("a", "b"): pods}), template()).fits is fits


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "yes"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "no"}, False),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_taint_keeps_a_pod_away_that_does_not_tolerate_it(toleration: dict[str, str], fits: bool) -> None:
    facts = Facts(nodes=[node(taints=(Taint("gpu", "yes", "NoSchedule"),))])
    assert room_for(facts, template(tolerations=[toleration])).fits is fits


def test_several_pods_that_surge_at_once_need_the_room_of_all() -> None:
    assert room_for(Facts(nodes=[node(gpus=4)]), template(), 2).fits
    assert room_for(Facts(nodes=[node(gpus=2), node("m", gpus=2)]), template(), 2).fits
    assert not room_for(Facts(nodes=[node(gpus=3)]), template(), 2).fits


def test_a_selector_leaves_other_nodes_out() -> None:
    facts = Facts(nodes=[node(labels={"zone": "b"})])
    assert not room_for(facts, template(nodeSelector={"zone": "a"})).fits
    assert room_for(facts, template(nodeSelector={"zone": "b"})).fits


def test_why_nothing_fits_is_told_where_each_resource_by_itself_would_do_and_where_only_some_pods_do() -> None:
    template = {"spec": {"containers": [{"resources": {"requests": {"cpu": "2", "nvidia.com/gpu": "1"}}}]}}
    busy = NodeFact("busy", allocatable={"cpu": 500, "nvidia.com/gpu": 1})
    without = NodeFact("without", allocatable={"cpu": 8000})
    apart = room_for(Facts(nodes=[busy, without]), template)
    assert apart.words == (
        "no node has room for it: none has all at once, the most that one has are "
        "8000m free of 2000m `cpu`, 1 free of 1 `nvidia.com/gpu`"
    )
    one = NodeFact("one", allocatable={"cpu": 8000, "nvidia.com/gpu": 1})
    assert room_for(Facts(nodes=[one]), template, 2).words == "nodes have room for 1 of the 2 that would surge at once"
