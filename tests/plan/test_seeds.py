"""Where a seed holds: what of spec, Region and installation it takes, and what is told meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.specs import KEY, model, region, world
from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.plan.naming import pool_name
from tomoul.plan.planner import plan
from tomoul.plan.podfact import PodFact
from tomoul.plan.running import wanted_revision
from tomoul.plan.world import DeploymentFact, Facts, Key, NodeFact, Taint, World

DIGEST = f"vllm/vllm-openai:v0.32.0@sha256:{'a' * 64}"
COMMIT = "187ef0342fff0eb3333be9f00389385e95ef0b61"
EXCLUSIVE = {"id": "acme/chat", "ownership": "Exclusive"}
H100 = {"name": "nvidia-l4", "product": "NVIDIA-H100-80GB-HBM3"}
LABEL = "nvidia.com/gpu.product"


def exclusive(**fields: Any) -> ModelDeployment:
    """An Exclusive model of vLLM's that has all that it takes."""
    base = {"model": EXCLUSIVE, "engine": {"type": "VLLM", "image": DIGEST}, "resources": {"accelerator": "nvidia-l4"}}
    return model(**{**base, **fields})


def on(
    found: ModelDeployment, accelerator: dict[str, Any] | None = None, facts: Facts | None = None, **placement: Any
) -> World:
    where = region(placement={"accelerators": [accelerator or H100], **placement})
    return world(found, regions=(where,), facts=facts)


def planned(found: World) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """What is advertised, what is told in the status, the route and the default pool's pod."""
    state = plan(found)
    route, *_ = state.tables["eu-west"]["spec"]["models"]
    (row,) = state.models[KEY].status.regions
    assert row.seed is not None
    pod = next(each for each in state.models[KEY].objects if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    return route["capabilities"]["seed"], row.seed.message, route, pod


def runs_deterministically(pod: dict[str, Any]) -> bool:
    return {"name": "VLLM_BATCH_INVARIANT", "value": "1"} in pod["containers"][0]["env"]


def test_an_exclusive_model_that_has_all_it_takes_repeats_its_answers_on_one_product() -> None:
    worth, message, route, pod = planned(on(exclusive()))
    assert (worth, message) == ("deterministic", "")
    assert runs_deterministically(pod)
    assert pod["nodeSelector"] == {LABEL: "NVIDIA-H100-80GB-HBM3"}
    assert route["randomSeed"], "all replicas of vLLM begin with the same random numbers"


@pytest.mark.parametrize(
    ("fields", "accelerator", "told"),
    [
        ({"engine": {"type": "VLLM"}}, H100, "by its digest"),
        ({"engine": {"type": "VLLM", "image": "vllm/vllm-openai:v0.32.0"}}, H100, "by its digest"),
        ({"source": {"hf": {"repo": "a/b", "revision": "main"}}}, H100, "name a commit"),
        ({}, {"name": "nvidia-l4"}, f"`{LABEL}`"),
        ({}, {**H100, "resource": "example.com/npu"}, "no label tells which"),
        ({"engine": {"type": "VLLM", "image": DIGEST, "version": "0.31.0"}}, H100, "use 0.32.0 or newer"),
    ],
)
def test_a_model_that_lacks_something_is_told_what_and_does_not_pay_for_it(
    fields: dict[str, Any], accelerator: dict[str, Any], told: str
) -> None:
    worth, message, route, pod = planned(on(exclusive(**fields), accelerator))
    assert worth == "best_effort"
    assert told in message
    assert not runs_deterministically(pod)
    assert "nodeSelector" not in pod
    assert not route["randomSeed"]


def test_the_products_label_may_stand_in_the_regions_or_the_accelerators_selector() -> None:
    own = {LABEL: "NVIDIA-L4"}
    for found in (
        on(exclusive(), {"name": "nvidia-l4", "nodeSelector": own}),
        on(exclusive(), {"name": "nvidia-l4"}, nodeSelector=own),
    ):
        worth, _, _, pod = planned(found)
        assert (worth, pod["nodeSelector"]) == ("deterministic", own)


def test_a_commit_of_the_weights_is_one_revision() -> None:
    assert planned(on(exclusive(source={"hf": {"repo": "a/b", "revision": COMMIT}})))[0] == "deterministic"


def test_beside_adapters_a_seed_is_best_effort() -> None:
    adapters = [{"id": "acme/legal", "source": {"file": {"path": "/models/legal"}}}]
    worth, message, *_ = planned(on(exclusive(adapters=adapters)))
    assert worth == "best_effort"
    assert "LoRA adapters" in message


def test_a_third_partys_model_repeats_its_answers_if_it_is_asked_to_and_an_exclusive_one_unless_it_is_not() -> None:
    third = {"id": "acme/chat"}
    assert planned(on(exclusive(model=third)))[:2] == ("best_effort", "")
    assert planned(on(exclusive(model=third, capabilities={"seed": "Deterministic"})))[0] == "deterministic"
    assert planned(on(exclusive(capabilities={"seed": "BestEffort"})))[:2] == ("best_effort", "")


def kept(found: World) -> tuple[str, str, str] | None:
    """The condition SeedKept, and Ready's reason."""
    (row,) = plan(found).models[KEY].status.regions
    by_type = {each.type: each for each in row.conditions}
    if "SeedKept" not in by_type:
        return None
    return by_type["SeedKept"].status, by_type["SeedKept"].reason, by_type["SeedKept"].message


def test_only_a_promise_that_was_asked_for_in_words_is_a_condition() -> None:
    asked = {"capabilities": {"seed": "Deterministic"}}
    assert kept(on(exclusive(engine={"type": "VLLM"}))) is None
    told = kept(on(exclusive(**asked)))
    assert told is not None
    assert told[:2] == ("True", Reason.ENFORCED)
    status, reason, message = kept(on(exclusive(engine={"type": "VLLM"}, **asked))) or ("", "", "")
    assert (status, reason) == ("False", Reason.IMAGE_NOT_PINNED)
    assert message.startswith("Seeds are best effort: image `vllm/vllm-openai:v0.32.0`")
    status, reason, _ = kept(on(exclusive(**asked), {"name": "nvidia-l4"})) or ("", "", "")
    assert (status, reason) == ("False", Reason.ACCELERATOR_NOT_SINGLE)
    (over,) = [each for each in plan(on(exclusive(**asked))).models[KEY].status.conditions if each.type == "SeedKept"]
    assert over.status == "True"


def test_a_promise_that_was_asked_for_and_is_not_kept_keeps_the_model_from_being_ready() -> None:
    found = on(exclusive(engine={"type": "VLLM"}, capabilities={"seed": "Deterministic"}), facts=serving("any"))
    (row,) = plan(found).models[KEY].status.regions
    ready = next(each for each in row.conditions if each.type == "Ready")
    assert ready.status == "False"


ARCH, FAMILY = "kubernetes.io/arch", "feature.node.kubernetes.io/cpu-model.family"


def on_cpus(*nodes: NodeFact, **placement: Any) -> World:
    """A model of llama.cpp's that has all else that it takes."""
    image = f"acme/llama@sha256:{'a' * 64}"
    found = model(
        engine={"type": "LlamaCpp", "image": image},
        cache={"mode": "Disabled", "noStore": "NotStored"},
        capabilities={"seed": "Deterministic"},
    )
    return world(found, regions=(region(placement=placement),), facts=Facts(nodes=nodes))


@pytest.mark.parametrize(
    "others",
    [
        [NodeFact("b", {ARCH: "amd64", FAMILY: "6"})],
        [NodeFact("b", {ARCH: "amd64"})],
        [NodeFact("b", {ARCH: "arm64", "zone": "us"})],
        [NodeFact("b", {ARCH: "arm64"}, taints=[Taint("gpus", "", "NoSchedule")])],
        [],
    ],
    ids=["the same", "nothing told of the model", "not of the region", "not for such pods", "alone"],
)
def test_on_nodes_whose_labels_show_no_other_cpus_a_seed_is_kept(others: list[NodeFact]) -> None:
    labels = {ARCH: "amd64", FAMILY: "6", "zone": "eu"}
    nodes = [NodeFact(each.name, {"zone": "eu", **each.labels}, taints=each.taints) for each in others]
    status, _, message = kept(on_cpus(NodeFact("a", labels), *nodes, nodeSelector={"zone": "eu"})) or ("", "", "")
    assert (status, message.endswith("on nodes with CPUs of one model")) == ("True", True)


@pytest.mark.parametrize(
    "other",
    [
        NodeFact("b", {ARCH: "arm64"}),
        NodeFact("b", {ARCH: "amd64", FAMILY: "25"}),
        NodeFact("b", {FAMILY: "25"}, False, taints=[Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")]),
    ],
    ids=["another architecture", "another model", "another model on a node that is cordoned, whose pods answer"],
)
def test_on_nodes_whose_labels_show_other_cpus_a_seed_is_best_effort_and_no_pod_is_replaced_for_it(
    other: NodeFact,
) -> None:
    alone, both = (on_cpus(NodeFact("a", {ARCH: "amd64", FAMILY: "6"}), *more) for more in ((), (other,)))
    status, reason, message = kept(both) or ("", "", "")
    assert (status, reason) == ("False", Reason.CPU_NOT_SINGLE)
    [label] = [label for label in (ARCH, FAMILY) if other.labels.get(label) in ("arm64", "25")]
    assert f"`{label}` is " in message
    assert "`placement.nodeSelector`" in message
    assert planned(both)[0] == "best_effort"
    assert planned(both)[3] == planned(alone)[3]


def test_a_region_without_the_model_promises_no_more_of_it_than_the_cpus_of_the_region_that_has_it() -> None:
    nodes = [NodeFact("a", {ARCH: "amd64", "zone": "eu"}), NodeFact("b", {ARCH: "arm64", "zone": "eu"})]
    here = on_cpus(*nodes, nodeSelector={"zone": "eu"})
    elsewhere = region("us-east", placement={"nodeSelector": {"zone": "us"}})
    both = replace(here, regions={**here.regions, "us-east": elsewhere})
    worths = {name: table["spec"]["models"][0]["capabilities"]["seed"] for name, table in plan(both).tables.items()}
    assert worths == {"eu-west": "best_effort", "us-east": "best_effort"}


def serving(*revisions: str, deployment: str = "") -> Facts:
    key = Key("models", pool_name("chat", "eu-west", "default"))
    pods = [PodFact(f"pod-{n}", node="n", phase="Running", revision=each) for n, each in enumerate(revisions)]
    return Facts(pods={key: pods}, deployments={key: DeploymentFact(revision=deployment or revisions[-1])})


def fingerprint(found: World) -> str:
    return str(planned(found)[2]["pools"][0]["fingerprint"])


def test_seeds_are_best_effort_while_pods_of_another_revision_answer_and_the_fingerprint_is_neithers() -> None:
    still = on(exclusive())
    wanted = wanted_revision(still, still.models[KEY], still.regions["eu-west"], "default")
    told = {
        revisions: replace(still, facts=serving(*revisions)) for revisions in (("old",), ("old", wanted), (wanted,))
    }
    assert [planned(each)[0] for each in told.values()] == ["best_effort", "best_effort", "deterministic"]
    assert "another revision" in planned(told["old", wanted])[1]
    prints = [fingerprint(each) for each in told.values()]
    assert len(set(prints)) == 3
    assert fingerprint(still) == prints[2], "of a pool without pods it is that of those to come"


def test_the_fingerprint_changes_with_image_arguments_variables_weights_and_product_and_with_nothing_else() -> None:
    base = on(exclusive())
    others = [
        on(exclusive(engine={"type": "VLLM", "image": DIGEST.replace("a" * 64, "b" * 64)})),
        on(exclusive(engine={"type": "VLLM", "image": DIGEST, "args": ["--max-num-seqs=8"]})),
        on(exclusive(engine={"type": "VLLM", "image": DIGEST, "env": [{"name": "A", "value": "1"}]})),
        on(exclusive(source={"hf": {"repo": "a/b", "revision": COMMIT}})),
        on(exclusive(), {**H100, "product": "NVIDIA-L4"}),
        on(exclusive(model={**EXCLUSIVE, "id": "acme/other"})),
    ]
    assert len({fingerprint(each) for each in (base, *others)}) == 7
    same = on(exclusive(regions=[{"name": "eu-west", "replicas": 5}], routing={"affinity": "Prefix"}))
    assert fingerprint(same) == fingerprint(base)


def test_the_pool_for_no_store_calls_has_a_fingerprint_of_its_own() -> None:
    _, _, route, _ = planned(on(exclusive(cache={"mode": "Tenant", "noStore": "NotStored"})))
    assert len({pool["fingerprint"] for pool in route["pools"]}) == 2


def test_a_model_that_runs_only_elsewhere_says_the_least_of_its_regions() -> None:
    def at(name: str, accelerator: dict[str, Any]) -> Any:
        return region(name, placement={"accelerators": [accelerator]})

    found = exclusive(regions=[{"name": "ap-south", "replicas": 1}, {"name": "us-east", "replicas": 1}])
    for poor, worth in (({"name": "nvidia-l4"}, "best_effort"), (H100, "deterministic")):
        both = world(found, regions=(region(), at("ap-south", H100), at("us-east", poor)))
        (route,) = plan(both).tables["eu-west"]["spec"]["models"]
        assert route["capabilities"]["seed"] == worth


def test_pods_that_find_no_node_of_the_product_say_which_label_they_look_for() -> None:
    waiting = serving("any")
    pod = PodFact("pod-0", unschedulable="0/3 nodes are available", revision="any")
    found = on(exclusive(), facts=replace(waiting, pods={key: [pod] for key in waiting.pods}))
    (row,) = plan(found).models[KEY].status.regions
    assert f"on nodes with the label `{LABEL}={H100['product']}`, which keeps seeds" in row.waiting_for
