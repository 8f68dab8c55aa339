"""What every engine answers, and the shapes of the answers."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from tomoul.api.adapter import Adapter
from tomoul.api.cache import CacheMode
from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName, SeedSupport
from tomoul.api.source import Source
from tomoul.plan.weights import weights_path

PORT = 8000
"""Port of every engine's HTTP server."""
GROUP_PORT = 29501
"""Port of a leader at which its workers find it, and keep a connection for as long as they work together."""
LEADER_ADDRESS, RANK = "$(LWS_LEADER_ADDRESS)", "$(LWS_WORKER_INDEX)"
"""What LeaderWorkerSet tells each pod of a group in variables, as Kubernetes puts it into arguments."""
HEALTH_PATH = "/health"
MODELS_DIR = "/models"
"""Where a PersistentVolumeClaim with weights is mounted."""
ADAPTERS_DIR = "/adapters"
"""Where PersistentVolumeClaims with adapters are mounted, each in a folder of its name."""
CACHE_DIR = "/cache"
"""Writable folder for downloads and compiled kernels; also the home directory, since the images' own is not ours."""

PromptCache = Literal["none", "salted", "shared"]
"""What an engine does with prompts: stores none, keeps those of each salt apart, or lets all calls share them."""


class Refusal(NamedTuple):
    """Why a spec is not accepted, naming the field and the right form."""

    reason: Reason
    field: str
    message: str


class CachePromise(NamedTuple):
    """Whether the engine keeps the cache policy that the spec states."""

    kept: bool
    reason: Reason
    message: str


class Obstacle(NamedTuple):
    """What keeps equal seeds from giving equal answers, with what to do about it."""

    reason: Reason
    message: str


class SeedHandling(NamedTuple):
    """What an engine makes of seeds with a spec."""

    worth: SeedSupport
    """What one is worth outside of the deterministic mode."""
    obstacle: Obstacle | None
    """Why it has no deterministic mode, or None where it has."""
    known: int | None = None
    """How many seeds it knows, from 0, where that is not all of 63 bits; others mean no seed, or another one."""
    one_for_all: bool = False
    """Whether calls without a seed would get the same one in the deterministic mode."""


class EngineMetrics(NamedTuple):
    """What an engine calls, at `/metrics` of its port, the gauges that tell how busy it is."""

    running: str
    """Calls that it works on."""
    waiting: str
    """Calls that wait for their turn."""
    kv_used: str | None
    """Share of its KV cache that is in use, from 0 to 1; None where it tells none."""


@dataclass(frozen=True)
class EngineContainer:
    """How the engine is started."""

    args: tuple[str, ...]
    command: tuple[str, ...] = ()
    """Empty where the image's entrypoint is right."""
    env: Mapping[str, str] = field(default_factory=dict)
    shared_memory: bool = False
    """Whether its processes talk through /dev/shm."""
    read_only_root: bool = False
    health_path: str = HEALTH_PATH
    bash: bool = True
    """Whether the image has bash, by which a first call is made and a pod ends as soon as its calls have."""


class BodyFields(NamedTuple):
    """What the engine makes of fields of a body that are not OpenAI's."""

    salt: str | None = None
    """Top-level field that carries the cache salt, or None where the engine has none."""
    remove: tuple[str, ...] = ()
    """Top-level fields that a client must not control."""
    usage_option: str | None = None
    """Member of `stream_options` that makes it tell its tokens in every chunk, or None where it has none."""
    counts_one_choice: bool = False
    """Whether it tells, of an answer in one piece with several choices, the completion tokens of one only."""


class ContainerOf(Protocol):
    """How the engine is started in a pool."""

    def __call__(self, spec: ModelDeploymentSpec, pool: PoolName, *, deterministic: bool = False) -> EngineContainer:
        """Its command line; `deterministic` only where `seeds` names no obstacle."""


class GroupArguments(Protocol):
    """What the command line of a pod has besides, by which it works with the others of its replica."""

    def __call__(self, spec: ModelDeploymentSpec, *, worker: bool) -> tuple[str, ...]:
        """Those of a worker or the leader; `LEADER_ADDRESS` and `RANK` stand for what differs."""


@dataclass(frozen=True, kw_only=True)
class EngineDefinition:
    """What differs between engines; each module of this package that has one, named ENGINE, is an engine."""

    type: str
    """Its name in `spec.engine.type`."""
    about: str = ""
    """What that is, for `kubectl explain`, where the name does not say it."""
    default_version: str = ""
    """Version that runs where the spec names neither version nor image; empty if versions do not matter."""
    default_image: Callable[[str], str]
    """The engine's own image of a version."""
    container: ContainerOf
    refusal: Callable[[ModelDeploymentSpec], Refusal | None]
    """The first thing in the spec that this engine cannot do, or None."""
    cache_promise: Callable[[ModelDeploymentSpec], CachePromise]
    """Whether this engine keeps `spec.cache`."""
    prompt_cache: Callable[[ModelDeploymentSpec, PoolName], PromptCache]
    """What the engine's pods in a pool do with prompts."""
    seeds: Callable[[ModelDeploymentSpec], SeedHandling]
    """What the engine makes of seeds."""
    adapter_fields: Callable[[ModelDeploymentSpec, int], Mapping[str, Any]]
    """Fields of a body, beside `model`, by which the engine knows that `spec.adapters[index]` is meant."""
    mixes_adapters: bool
    """Whether its prompt cache may answer calls to one adapter, or to the model, from another's."""
    body_fields: Callable[[ModelDeploymentSpec], BodyFields]
    """Fields of a body that the gateway sets or removes."""
    metrics: EngineMetrics | None
    """How it names its own figures, or None where nobody knows."""
    keeps_connections: bool
    """Whether a connection stays open behind every answer, unless the answer says `Connection: close`."""
    group_arguments: GroupArguments | None = None
    """None where it runs in one pod."""
    parses_tools: bool = False
    """Whether it needs `capabilities.tools.parser`; the API server refuses tools without."""
    loads_one_file: bool = False
    """Whether it loads a single file of a source that is downloaded; the API server refuses one that names none."""
    never_isolates: bool = False
    """Whether no version can isolate one call in a shared cache; the API server refuses `noStore: Isolated`."""


def is_uncached(spec: ModelDeploymentSpec, pool: PoolName) -> bool:
    """Whether the pods of a pool must not keep any prompt."""
    return spec.cache.mode is CacheMode.DISABLED or pool == "no-store"


def adapter_path(adapter: Adapter) -> str:
    """Path of an adapter's weights in the container."""
    pvc = adapter.source.pvc
    return model_path(adapter.source) if pvc is None else f"{ADAPTERS_DIR}/{pvc.claim_name}/{pvc.path}"


def model_path(source: Source) -> str:
    """Path of the weights in the container."""
    if source.file is not None:
        return source.file.path
    if source.pvc is not None:
        return f"{MODELS_DIR}/{source.pvc.path}"
    return weights_path(source)


def reserved_argument(args: Sequence[str], reserved: Mapping[str, str], *, abbreviates: bool) -> Refusal | None:
    """The first of `args` that sets what a promise rests on; `reserved` maps flags to who sets them.

    All engines take `_` for `-` in long flags, and most `-s42` for `-s 42`. `abbreviates`: the engine's parser also
    takes `--serv` for `--served-model-name` and `-t` for `-tp`, as argparse does.
    """
    for index, arg in enumerate(args):
        flag = re.split(r"[=.\s]", arg, maxsplit=1)[0]
        if not re.fullmatch(r"--?[A-Za-z].*", flag):
            continue
        if flag.startswith("--"):
            flag = flag.replace("_", "-")
        owner = reserved.get(flag) or (reserved.get(flag[:2]) if re.match(r"-[A-Za-z][^A-Za-z]", flag) else None)
        if owner is None and abbreviates:
            owner = next((why for known, why in reserved.items() if known.startswith(flag)), None)
        if owner is not None:
            message = f"`{arg}` is not allowed: {owner}; remove it"
            return Refusal(Reason.UNSUPPORTED_BY_ENGINE, f"spec.engine.args[{index}]", message)
    return None


def named_flag(args: Sequence[str], flags: Sequence[str]) -> str | None:
    """The first of `args` that is one of `flags`, of which one with a `*` behind stands for all that begin so."""
    for arg in args:
        flag = arg.partition("=")[0].replace("_", "-")
        if any(flag == known or (known.endswith("*") and flag.startswith(known[:-1])) for known in flags):
            return flag
    return None


def flag_value(args: Sequence[str], *flags: str) -> str | None:
    """Value of the last of `flags` in `args`, written as `--flag value` or `--flag=value`."""
    found: str | None = None
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name in flags:
            found = value if equals else next(iter(args[index + 1 : index + 2]), None)
    return found
