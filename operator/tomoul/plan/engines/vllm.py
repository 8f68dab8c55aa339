"""vLLM: `vllm serve`."""

import json
from collections.abc import Mapping
from typing import Any

from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines import vllm_reserved as reserved
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
    PromptCache,
    Refusal,
    SeedHandling,
    adapter_path,
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
from tomoul.plan.quantity import whole

DEFAULT_VERSION = "0.32.0"
METRICS = EngineMetrics("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")

# `MaxLoRARanks` of vllm/config/lora.py; others are refused.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

# Since https://github.com/vllm-project/vllm/pull/17045, which keys the hash of a prompt's first block by `cache_salt`.
_SALT_SINCE = Version(0, 9, 0)
# https://docs.vllm.ai/en/v0.32.0/features/batch_invariance/: on NVIDIA from compute capability 8.0 and on AMD, and only
# with attention backends that keep it, else it does not start. Older versions had parts of it.
_REPEATS_SINCE = Version(0, 32, 0)
_GUESSING = ("--spec*", "-sc")
# The version whose source was read: v1/kv_offload/base.py keys what is offloaded by the hash of the block, into which
# v1/core/kv_cache_utils.py takes the salt. It stores and finds blocks even with --no-enable-prefix-caching.
_OFFLOADS_SINCE = Version(0, 32, 0)
# The version whose source was read: of several nodes all but the first run `--headless`, which ends in
# v1/executor/multiproc_executor.py; before, several nodes took Ray.
_JOINS_SINCE = Version(0, 32, 0)


def default_image(version: str) -> str:
    """vLLM's own image of that version."""
    return f"vllm/vllm-openai:v{version}"


def container(spec: ModelDeploymentSpec, pool: PoolName, *, deterministic: bool = False) -> EngineContainer:
    """Command line of `vllm serve` in a pool."""
    args = [model_path(spec.source)]
    args += ["--served-model-name", spec.model.id, "--host", ALL_IPV4, "--port", str(PORT)]
    args += ["--tensor-parallel-size", str(spec.resources.gpus // spec.resources.pipeline)]
    if spec.resources.pipeline > 1:
        args += ["--pipeline-parallel-size", str(spec.resources.pipeline)]
    if spec.capabilities.context_window is not None:
        args += ["--max-model-len", str(spec.capabilities.context_window)]
    args += ["--no-enable-prefix-caching" if is_uncached(spec, pool) else "--enable-prefix-caching"]
    if (offloaded := offloaded_bytes(spec, pool)) > 0:
        # Of all GPUs of the replica together, in GiB.
        size = offloaded * spec.resources.nodes / 2**30
        args += ["--kv-offloading-size", f"{size:g}", "--kv-offloading-backend", "native"]
    if spec.capabilities.tools is not None and spec.capabilities.tools.parser is not None:
        args += ["--enable-auto-tool-choice", "--tool-call-parser", spec.capabilities.tools.parser]
    args += _adapters(spec)
    args += ["--enable-prompt-tokens-details", *spec.engine.args]
    env = {"VLLM_BATCH_INVARIANT": "1"} if deterministic else {}
    return EngineContainer(args=tuple(args), command=("vllm", "serve"), env=env, shared_memory=True)


def _adapters(spec: ModelDeploymentSpec) -> list[str]:
    if not spec.adapters:
        return []
    rank = next(room for room in _RANKS if room >= max(adapter.rank for adapter in spec.adapters))
    modules = [json.dumps({"name": adapter.id, "path": adapter_path(adapter)}) for adapter in spec.adapters]
    # As many at once as there are, so that none of them waits for the others' calls to end.
    counts = ["--max-loras", str(len(spec.adapters)), "--max-lora-rank", str(rank)]
    return ["--enable-lora", *counts, "--lora-modules", *modules]


def group_arguments(spec: ModelDeploymentSpec, *, worker: bool) -> tuple[str, ...]:
    """The leader serves, and its executor tells the workers, which have no server, what to compute."""
    where = ("--master-addr", LEADER_ADDRESS, "--master-port", str(GROUP_PORT))
    rank = ("--node-rank", RANK, "--headless") if worker else ("--node-rank", "0")
    return ("--nnodes", str(spec.resources.nodes), *where, *rank)


def refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """The first thing in the spec that vLLM cannot do, or None."""
    version = engine_version(spec, DEFAULT_VERSION)
    return (
        reserved_argument(spec.engine.args, reserved.ARGUMENTS, abbreviates=True)
        or reserved_variable(spec, reserved.VARIABLES)
        or offload_refusal(spec, version, _OFFLOADS_SINCE)
        or group_refusal(spec, version, _JOINS_SINCE)
        or _room_refusal(spec)
        or _adapters_refusal(spec)
    )


def _room_refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """Why a pod has no room for what all pods of its replica offload, or None.

    Each fills no more than its own part, but maps the whole in /dev/shm and does not start where that does not fit
    (v1/kv_offload/cpu/shared_offload_region.py). Of a pod with a limit /dev/shm is as large as its memory.
    """
    offload, memory, nodes = spec.cache.offload, spec.resources.memory, spec.resources.nodes
    if offload is None or memory is None or nodes == 1 or whole(offload.memory) * nodes < whole(memory):
        return None
    message = (
        f"`{offload.memory}` times {nodes} must be less than `spec.resources.memory`: each of a replica's {nodes} pods "
        "needs room for what all of them offload, though it fills only its own part"
    )
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.cache.offload.memory", message)


def _adapters_refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """On CPUs 0.32.0 adds the last adapter's weights to a call of the model that runs beside a call of an adapter.

    https://github.com/vllm-project/vllm/pull/48421: an index of -1, for no adapter, finds the last one.
    """
    if not spec.adapters or spec.resources.accelerator is not None:
        return None
    message = (
        "on CPUs VLLM answers a call of the model with an adapter's weights where both run at once; "
        "name `spec.resources.accelerator`, or take out `spec.adapters`"
    )
    return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.adapters", message)


def cache_promise(spec: ModelDeploymentSpec) -> CachePromise:
    """Whether vLLM keeps `spec.cache`: it keys its cache by `cache_salt`."""
    return salted_promise(spec, engine_version(spec, DEFAULT_VERSION), _SALT_SINCE, "vLLM")


def prompt_cache(spec: ModelDeploymentSpec, pool: PoolName) -> PromptCache:
    """What vLLM's pods in a pool do with prompts."""
    return salted_cache(spec, pool, engine_version(spec, DEFAULT_VERSION), _SALT_SINCE)


def seeds(spec: ModelDeploymentSpec) -> SeedHandling:
    """Batches change results unless batch-invariant kernels are on.

    Every replica starts its own random numbers from the same seed, so in that mode calls without one get one each.
    """
    obstacle = repeating(spec, engine_version(spec, DEFAULT_VERSION), _REPEATS_SINCE, _GUESSING)
    return SeedHandling("ignored" if _ends_by_seeds(spec) else "best_effort", obstacle, one_for_all=True)


def _ends_by_seeds(spec: ModelDeploymentSpec) -> bool:
    """On CPUs 0.32.0 ends when it reads the prompt of a call with a seed in parts, as it does under load.

    It sets a generator's offset then, in vllm/v1/worker/gpu_model_runner.py: "CPU Generator does not use offset".
    """
    return spec.resources.accelerator is None


def adapter_fields(spec: ModelDeploymentSpec, index: int) -> Mapping[str, Any]:
    """None: it is served under its id, and the gateway leaves that in `model`."""
    return {}


def body_fields(spec: ModelDeploymentSpec) -> BodyFields:
    """The fields that vLLM has beside OpenAI's."""
    # `priority` would set calls before other tenants'.
    remove = ("cache_salt", "ec_transfer_params", "kv_transfer_params", "priority", "request_id", "vllm_xargs")
    return BodyFields(
        salt="cache_salt",
        remove=(*remove, "seed") if _ends_by_seeds(spec) else remove,
        usage_option="continuous_usage_stats",
    )


ENGINE = EngineDefinition(
    type="VLLM",
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
    # Each block's hash has the adapter's name in it: `_gen_lora_extra_hash_keys` of vllm/v1/core/kv_cache_utils.py.
    mixes_adapters=False,
    metrics=METRICS,
    keeps_connections=True,
    parses_tools=True,
)
