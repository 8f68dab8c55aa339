"""SGLang: `python3 -m sglang.launch_server`."""

import json
from collections.abc import Mapping
from typing import Any

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines import sglang_reserved as reserved
from tomoul.plan.engines.base import (
    GROUP_PORT,
    LEADER_ADDRESS,
    PORT,
    RANK,
    BodyFields,
    CachePromise,
    EngineContainer,
    EngineDefinition,
    EngineMetrics,
    Obstacle,
    PromptCache,
    Refusal,
    SeedHandling,
    adapter_path,
    flag_value,
    is_uncached,
    model_path,
    reserved_argument,
)
from tomoul.plan.engines.environment import reserved_variable
from tomoul.plan.engines.promises import (
    group_refusal,
    offload_refusal,
    offloaded_bytes,
    repeating,
    salted_cache,
    salted_promise,
)
from tomoul.plan.engines.version import Version, engine_version
from tomoul.plan.listening import ALL_IPV4

DEFAULT_VERSION = "0.5.23"
METRICS = EngineMetrics("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage")

# Before https://github.com/sgl-project/sglang/pull/23300 the field was read and then lost on its way to the scheduler.
_SALT_SINCE = Version(0, 5, 11)
# The version whose source was read: handle_deterministic_inference in srt/arg_groups/attention_hook.py turns off what
# would break it. Older ones have had it in parts since 0.5.3.
_REPEATS_SINCE = Version(0, 5, 23)
_GUESSING = ("--spec*",)
# Only with these attention backends does the deterministic mode leave the radix cache on, which offloading needs.
_BACKENDS = ("fa3", "fa4", "triton")
# The version whose source was read: the tier in memory hangs on the radix tree's nodes, whose keys have the salt
# (srt/mem_cache/unified_radix_cache.py). A storage backend behind it would key pages by tokens alone until
# https://github.com/sgl-project/sglang/pull/38577, so none is ever set.
_OFFLOADS_SINCE = Version(0, 5, 23)
_GIGABYTE = 10**9
# https://github.com/sgl-project/sglang/pull/10317 made the adapter a part of the radix cache's key. Versions between it
# and this one are not told apart: they lose the salt anyway.
_ADAPTERS_SINCE = _SALT_SINCE
# The version whose source was read: `_calculate_rank_ranges` of srt/entrypoints/engine.py gives each node whole stages,
# or each stage whole nodes. Of older ones nothing was found against it, and nothing was looked at.
_JOINS_SINCE = Version(0, 5, 23)


def default_image(version: str) -> str:
    """SGLang's own image of that version."""
    return f"lmsysorg/sglang:v{version}"


def container(spec: ModelDeploymentSpec, pool: PoolName, *, deterministic: bool = False) -> EngineContainer:
    """Command line of SGLang's server in a pool."""
    args = ["--model-path", model_path(spec.source)]
    args += ["--served-model-name", spec.model.id, "--host", ALL_IPV4, "--port", str(PORT)]
    args += ["--tp-size", str(spec.resources.gpus // spec.resources.pipeline)]
    if spec.resources.pipeline > 1:
        args += ["--pp-size", str(spec.resources.pipeline)]
    if spec.capabilities.context_window is not None:
        args += ["--context-length", str(spec.capabilities.context_window)]
    if is_uncached(spec, pool):
        args += ["--disable-radix-cache"]
    if (offloaded := offloaded_bytes(spec, pool)) > 0:
        # Each GPU's process has a pool of its own.
        args += ["--enable-hierarchical-cache", "--hicache-size", str(offloaded // spec.resources.count // _GIGABYTE)]
    if spec.capabilities.tools is not None and spec.capabilities.tools.parser is not None:
        args += ["--tool-call-parser", spec.capabilities.tools.parser]
    if deterministic:
        args += ["--enable-deterministic-inference"]
    if spec.adapters:
        paths = [json.dumps({"lora_name": each.id, "lora_path": adapter_path(each)}) for each in spec.adapters]
        # As many at once as there are, and the model itself, so that none waits for the others' calls to end.
        args += ["--enable-lora", "--max-loras-per-batch", str(len(paths) + 1), "--lora-paths", *paths]
    args += ["--enable-cache-report", "--enable-metrics", *spec.engine.args]
    return EngineContainer(args=tuple(args), command=("python3", "-m", "sglang.launch_server"), shared_memory=True)


def group_arguments(spec: ModelDeploymentSpec, *, worker: bool) -> tuple[str, ...]:
    """The first node serves; the others answer nothing but their own health."""
    found = ("--nnodes", str(spec.resources.nodes), "--node-rank", RANK if worker else "0")
    return (*found, "--dist-init-addr", f"{LEADER_ADDRESS}:{GROUP_PORT}")


def refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """The first thing in the spec that SGLang cannot do, or None."""
    version = engine_version(spec, DEFAULT_VERSION)
    if spec.adapters and (version is None or version < _ADAPTERS_SINCE):
        known = f"this is {version}" if version is not None else "the tag of `spec.engine.image` names no version"
        message = (
            f"SGLang keeps adapters apart in its prompt cache since {_ADAPTERS_SINCE}, and {known}; "
            "use a newer one, or say in `spec.engine.version` which it is"
        )
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.adapters", message)
    return (
        reserved_argument(spec.engine.args, reserved.ARGUMENTS, abbreviates=True)
        or reserved_variable(spec, reserved.VARIABLES)
        or _remembering(spec)
        or offload_refusal(spec, version, _OFFLOADS_SINCE)
        or _too_little(spec)
        or group_refusal(spec, version, _JOINS_SINCE)
        or _torn_stages(spec)
    )


def cache_promise(spec: ModelDeploymentSpec) -> CachePromise:
    """Whether SGLang keeps `spec.cache`: versions before 0.5.11 drop `cache_salt` silently."""
    return salted_promise(spec, engine_version(spec, DEFAULT_VERSION), _SALT_SINCE, "SGLang")


def prompt_cache(spec: ModelDeploymentSpec, pool: PoolName) -> PromptCache:
    """What SGLang's pods in a pool do with prompts."""
    return salted_cache(spec, pool, engine_version(spec, DEFAULT_VERSION), _SALT_SINCE)


def seeds(spec: ModelDeploymentSpec) -> SeedHandling:
    """`seed` is ignored unless deterministic inference is on, and then calls without one all get 42.

    So srt/sampling/sampling_batch_info.py of 0.5.23, `sampling_seed`.
    """
    obstacle = repeating(spec, engine_version(spec, DEFAULT_VERSION), _REPEATS_SINCE, _GUESSING)
    backend = flag_value(spec.engine.args, "--attention-backend")
    if obstacle is None and spec.cache.offload is not None and backend not in _BACKENDS:
        one = ", ".join(_BACKENDS)
        message = f"SGLang repeats an answer and offloads only if `--attention-backend` is one of {one}; name it"
        obstacle = Obstacle(Reason.ENGINE_CANNOT_REPEAT, message)
    return SeedHandling("ignored", obstacle, one_for_all=True)


def adapter_fields(spec: ModelDeploymentSpec, index: int) -> Mapping[str, Any]:
    """The adapter's name beside `model`, in which SGLang would look for one behind a colon."""
    return {"lora_path": spec.adapters[index].id}


def body_fields(spec: ModelDeploymentSpec) -> BodyFields:
    """The fields that SGLang has beside OpenAI's."""
    return BodyFields(salt="cache_salt", remove=reserved.BODY_FIELDS, usage_option="continuous_usage_stats")


def _remembering(spec: ModelDeploymentSpec) -> Refusal | None:
    for index, arg in enumerate(spec.engine.args):
        if arg.rpartition("=")[2].upper() == reserved.REMEMBERING:
            message = f"`{arg}` is not allowed: it keeps what calls said for later calls, whoever sends them; remove it"
            return Refusal(Reason.UNSUPPORTED_BY_ENGINE, f"spec.engine.args[{index}]", message)
    return None


def _torn_stages(spec: ModelDeploymentSpec) -> Refusal | None:
    nodes, pipeline = spec.resources.nodes, spec.resources.pipeline
    if nodes % pipeline == 0 or pipeline % nodes == 0:
        return None
    message = f"must be a divisor or a multiple of `nodes`, {nodes}: nodes get whole stages, or stages whole nodes"
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.resources.pipeline", message)


def _too_little(spec: ModelDeploymentSpec) -> Refusal | None:
    offload = spec.cache.offload
    if offload is None or offloaded_bytes(spec, "default") >= spec.resources.count * _GIGABYTE:
        return None
    message = f"`{offload.memory}` must be at least `1G` for each of a pod's {spec.resources.count} GPUs"
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.cache.offload.memory", message)


ENGINE = EngineDefinition(
    type="SGLang",
    default_version=DEFAULT_VERSION,
    default_image=default_image,
    container=container,
    refusal=refusal,
    cache_promise=cache_promise,
    prompt_cache=prompt_cache,
    seeds=seeds,
    adapter_fields=adapter_fields,
    body_fields=body_fields,
    group_arguments=group_arguments,
    # Not from `_ADAPTERS_SINCE` on.
    mixes_adapters=False,
    metrics=METRICS,
    keeps_connections=True,
    parses_tools=True,
)
