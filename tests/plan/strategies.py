"""Worlds as hypothesis draws them: few names, so that models meet in regions, ids and aliases."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.plan.podfact import ContainerFact, PodFact, Termination
from tomoul.plan.settings import Settings
from tomoul.plan.world import DeploymentFact, Facts, Key, NodeFact, World

REGIONS = ("ap-south", "eu-west", "us-east")
IDS = ("acme/chat", "acme/code", "chat", "chat-fast")
NAMESPACES = ("models", "tomoul-system")
ACCELERATORS = ("nvidia-l4", "nvidia-h100")
T = TypeVar("T")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def mostly(usual: T, *others: T) -> st.SearchStrategy[T]:
    """The usual value twice as often as all others together: most of a world should work."""
    return st.sampled_from([usual] * (2 * len(others)) + list(others))


@st.composite
def regions(draw: st.DrawFn, name: str) -> Region:
    placement = {
        "nodeSelector": {"topology.kubernetes.io/region": name},
        "tolerations": draw(st.sampled_from([[], [{"key": "dedicated", "operator": "Exists"}]])),
        "accelerators": [{"name": each} for each in draw(mostly(ACCELERATORS, ACCELERATORS[:1], ()))],
    }
    spec = {"state": draw(mostly("Active", "Draining", "Disabled")), "placement": placement}
    if draw(st.booleans()):
        spec["endpoint"] = {"url": f"https://{name}.example.com"}
    return Region.model_validate({"metadata": {"name": name, "uid": draw(uids(name)), "generation": 1}, "spec": spec})


def uids(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", f"uid-of-{name}"])


@st.composite
def models(draw: st.DrawFn, key: Key) -> ModelDeployment:
    engine = draw(st.sampled_from(["VLLM", "SGLang", "LlamaCpp", "Custom"]))
    model_id = draw(st.sampled_from(IDS))
    targets = draw(st.permutations(REGIONS))[: draw(st.integers(1, 3))] + draw(mostly([], ["nowhere"]))
    no_store = ["NotStored", "Refuse"] if engine == "LlamaCpp" else ["Isolated", "NotStored", "Refuse"]
    tools = {} if engine in ("LlamaCpp", "Custom") else {"parser": "hermes"}
    spec: dict[str, Any] = {
        "model": {
            "id": model_id,
            "aliases": draw(st.lists(st.sampled_from([each for each in IDS if each != model_id]), unique=True)),
        },
        "source": draw(sources()),
        "engine": {
            "type": engine,
            "image": "images.example/engine:1.0.0",
            "args": draw(mostly([], ["--threads", "2"], ["--port", "1"])),
        },
        "capabilities": draw(st.sampled_from([{}, {"tools": tools, "contextWindow": 4096}])),
        "resources": draw(
            st.sampled_from([{}, {"accelerator": "nvidia-l4", "count": 2}, {"cpu": "1", "memory": "1Gi"}])
        ),
        "cache": {
            "mode": draw(st.sampled_from(["Disabled", "Tenant", "Shared"])),
            "noStore": draw(st.sampled_from(no_store)),
        },
    }
    if engine == "Custom":
        spec["engine"]["custom"] = draw(
            st.sampled_from([{}, {"promptCache": "Salted", "saltField": "salt", "noCacheArgs": ["--no-cache"]}])
        )
    second = spec["cache"]["noStore"] == "NotStored"
    spec["regions"] = [draw(targets_named(name, second)) for name in targets]
    if draw(st.booleans()):
        spec["routing"] = {"fallback": draw(st.permutations(targets))}
    metadata = {
        "name": key.name,
        "namespace": key.namespace,
        "uid": draw(uids(key.name)),
        "generation": 1,
        "creationTimestamp": BEGINNING + timedelta(days=draw(st.integers(0, 2))),
    }
    return ModelDeployment.model_validate({"metadata": metadata, "spec": spec})


def sources() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            {"file": {"path": "/models/a.gguf"}},
            {"pvc": {"claimName": "weights", "path": "a"}},
            {"s3": {"bucket": "weights", "folder": "a", "file": "a.gguf"}},
            {"hf": {"repo": "acme/a", "revision": "main", "file": "a.gguf", "token": {"name": "hf", "key": "token"}}},
        ]
    )


@st.composite
def targets_named(draw: st.DrawFn, name: str, second_pool: bool) -> dict[str, Any]:
    replicas = draw(st.sampled_from([None, 0, 1, 3]))
    given = {"name": name} if replicas is None else {"name": name, "replicas": replicas}
    return given | ({"noStoreReplicas": 2} if second_pool and replicas is not None else {})


def model_names() -> st.SearchStrategy[str]:
    """Names that are alike, that end where a region's name could begin, and of the greatest length."""
    return st.sampled_from(["chat", "chat-eu", "chat-eu-west", "code", "m" * 63, "m" * 62 + "n"])


def containers() -> st.SearchStrategy[ContainerFact]:
    return st.builds(
        ContainerFact,
        name=st.just("engine"),
        init=st.booleans(),
        ready=st.booleans(),
        started=st.booleans(),
        waiting=st.sampled_from(["", "ContainerCreating", "ImagePullBackOff", "CrashLoopBackOff", "Strange"]),
        ended=st.sampled_from([None, Termination(0), Termination(1, "Error", "bad"), Termination(137, "OOMKilled")]),
    )


def pods(name: str) -> st.SearchStrategy[PodFact]:
    return st.builds(
        PodFact,
        name=st.just(name),
        node=st.sampled_from(["", "node-1"]),
        ready=st.booleans(),
        terminating=st.booleans(),
        scheduled=st.booleans(),
        unschedulable=st.sampled_from(["", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."]),
        containers=st.lists(containers(), max_size=2),
        failed_reason=st.sampled_from(["", "Evicted"]),
        requests=st.just({"nvidia.com/gpu": 1}),
        prompt_cache=st.sampled_from(["", "none", "salted", "shared"]),
    )


@st.composite
def facts(draw: st.DrawFn, deployments: Mapping[Key, object]) -> Facts:
    """Facts about some of the Deployments that a plan wants."""
    known = [key for key in deployments if draw(st.booleans())]
    counts = st.integers(0, 3)
    return Facts(
        deployments={
            key: draw(
                st.builds(
                    DeploymentFact,
                    generation=counts,
                    observed_generation=counts,
                    replicas=counts,
                    updated=counts,
                    ready=counts,
                )
            )
            for key in known
        },
        pods={key: [draw(pods(f"{key.name}-{index}")) for index in range(draw(counts))] for key in known},
        nodes=[NodeFact("node-1", {"topology.kubernetes.io/region": "eu-west"}, allocatable={"nvidia.com/gpu": 8})],
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = draw(mostly(REGIONS, REGIONS[:2], ()))
    keys = draw(
        st.lists(st.builds(Key, st.sampled_from(NAMESPACES), model_names()), unique=True, min_size=1, max_size=5)
    )
    hosted = draw(mostly(None, frozenset(REGIONS[:1]), frozenset(REGIONS[1:]), frozenset()))
    return World(
        settings=Settings(hosted_regions=hosted),
        regions={name: draw(regions(name)) for name in names},
        models={key: draw(models(key)) for key in keys},
    )
