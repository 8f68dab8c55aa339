"""llama.cpp: its server, in an image whose entrypoint takes llama-server's flags."""

from collections.abc import Mapping
from typing import Any

from tomoul import __version__
from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.routingtable import PoolName
from tomoul.plan.engines.base import (
    CACHE_DIR,
    PORT,
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
    named_flag,
    reserved_argument,
)
from tomoul.plan.engines.environment import reserved_variable
from tomoul.plan.engines.promises import NO_CACHE, NOT_STORED, ONE_TENANT, no_offload
from tomoul.plan.listening import ALL_IPV4
from tomoul.plan.quantity import whole

DEFAULT_IMAGE = f"tomoul/cpu-engine:{__version__}"
METRICS = EngineMetrics("llamacpp:requests_processing", "llamacpp:requests_deferred", None)

_DEFAULT_PARALLEL = 4
_DEFAULT_THREADS = 4
_PARALLEL_FLAGS = ("--parallel", "-np")
_DRAFTING = ("--model-draft", "-md", "--draft*", "--spec*", "-hfd", "--hf-repo-draft")
# https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h: LLAMA_DEFAULT_SEED, 0xFFFFFFFF, asks for a random
# one, and seeds are cut to 32 bits: -1 and 2^63 - 1 are that one too.
_SEEDS = 2**32 - 1
_CACHE = "`spec.cache` decides about the prompt cache"
_ADDRESS = "the gateway reaches the engine where the operator says"
_SOURCE = "`spec.source` names the weights"
_WINDOW = "`spec.capabilities.contextWindow` is the longest context"
_KEY = "the gateway alone calls the engine, and without a key"
_LOG = "prompts must not be logged"
_LOOKUP = "it keeps what calls said for later calls"
_ADAPTERS = "`spec.adapters` lists the LoRA adapters"
_RESERVED = {
    "--model": _SOURCE,
    "-m": _SOURCE,
    "--model-url": _SOURCE,
    "-mu": _SOURCE,
    "--hf-repo": _SOURCE,
    "-hf": _SOURCE,
    "-hfr": _SOURCE,
    "--hf-file": _SOURCE,
    "-hff": _SOURCE,
    "--docker-repo": _SOURCE,
    "-dr": _SOURCE,
    "--models-dir": _SOURCE,
    "--models-preset": _SOURCE,
    "--hf-token": "`spec.source.hf.token` names the Secret",
    "-hft": "`spec.source.hf.token` names the Secret",
    "--alias": "`spec.model.id` is the name that the engine serves",
    "-a": "`spec.model.id` is the name that the engine serves",
    "--host": _ADDRESS,
    "--port": _ADDRESS,
    "--path": _ADDRESS,
    "--api-prefix": _ADDRESS,
    "--ssl-key-file": _ADDRESS,
    "--ssl-cert-file": _ADDRESS,
    "--api-key": _KEY,
    "--api-key-file": _KEY,
    "--lora": _ADAPTERS,
    "--lora-scaled": _ADAPTERS,
    "--lora-init-without-apply": _ADAPTERS,
    "--jinja": "tool calling rests on it",
    "--no-jinja": "tool calling rests on it",
    "--ctx-size": _WINDOW,
    "-c": _WINDOW,
    "--cache-prompt": _CACHE,
    "--no-cache-prompt": _CACHE,
    "--cache-reuse": _CACHE,
    "--cache-ram": _CACHE,
    "-cram": _CACHE,
    "--cache-idle-slots": _CACHE,
    "--no-cache-idle-slots": _CACHE,
    "--seed": "a call without a seed gets a random one",
    "-s": "a call without a seed gets a random one",
    "--slots": "it shows prompts of other callers",
    "--no-slots": "it shows prompts of other callers",
    "--slot-save-path": _CACHE,
    "--lookup-cache-static": _LOOKUP,
    "-lcs": _LOOKUP,
    "--lookup-cache-dynamic": _LOOKUP,
    "-lcd": _LOOKUP,
    "--log-prompts-dir": _LOG,
    "--verbose": _LOG,
    "-v": _LOG,
    "--log-verbose": _LOG,
    "--log-verbosity": _LOG,
    "-lv": _LOG,
    "--verbosity": _LOG,
}
# llama-server reads each of its flags from a variable too.
_RESERVED_ENV = {
    "LLAMA_ARG_*": "flags are given in `spec.engine.args`",
    "LLAMA_API_KEY": _KEY,
    "LLAMA_CACHE": "the operator says where to write",
    "LLAMA_LOG_*": _LOG,
}


def default_image(version: str) -> str:
    """The installation decides in which image llama.cpp runs."""
    raise LookupError("the installation names llama.cpp's image")


def container(spec: ModelDeploymentSpec, pool: PoolName, *, deterministic: bool = False) -> EngineContainer:
    """Command line of llama-server in a pool."""
    args = ["--model", model_path(spec.source)]
    args += ["--alias", spec.model.id, "--host", ALL_IPV4, "--port", str(PORT), "--jinja", "--metrics"]
    parallel = _parallel(spec) or (1 if deterministic else _DEFAULT_PARALLEL)
    args += ["--parallel", str(parallel)]
    if deterministic:
        # Left to itself it takes as many as the node has cores, and sums up differently by their number.
        args += ["--threads", str(_threads(spec))]
    if spec.capabilities.context_window is not None:
        # llama.cpp divides its context among the calls that run at once; each gets the whole window.
        args += ["--ctx-size", str(spec.capabilities.context_window * parallel)]
    # A pool serves several callers: its caches beyond the slots are known to restore another caller's conversation.
    args += ["--cache-ram", "0", "--no-cache-idle-slots", "--no-slots"]
    if is_uncached(spec, pool):
        args += ["--no-cache-prompt"]
    if spec.adapters:
        # At scale 0 none of them answers a call that does not ask for it.
        args += ["--lora-scaled", ",".join(f"{adapter_path(adapter)}:0" for adapter in spec.adapters)]
    args += spec.engine.args
    return EngineContainer(args=tuple(args), env={"LLAMA_CACHE": f"{CACHE_DIR}/llama.cpp"}, read_only_root=True)


def refusal(spec: ModelDeploymentSpec) -> Refusal | None:
    """The first thing in the spec that llama.cpp cannot do, or None."""
    parallel = flag_value(spec.engine.args, *_PARALLEL_FLAGS)
    if parallel is not None and not (parallel.isdecimal() and 1 <= int(parallel) <= 256):
        index = next(i for i, arg in enumerate(spec.engine.args) if arg.partition("=")[0] in _PARALLEL_FLAGS)
        message = f"`{parallel}` is not a number of calls at once; use 1 to 256"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, f"spec.engine.args[{index}]", message)
    if spec.resources.pipeline > 1:
        message = "must be 1: LlamaCpp shares the layers out among its GPUs by itself"
        return Refusal(Reason.UNSUPPORTED_BY_ENGINE, "spec.resources.pipeline", message)
    for index, adapter in enumerate(spec.adapters):
        if found := sorted(set(",:") & set(adapter_path(adapter))):
            message = f"must have no `{found[0]}` in its path: LlamaCpp takes it for the end of the file's name"
            return Refusal(Reason.UNSUPPORTED_BY_ENGINE, f"spec.adapters[{index}].source", message)
    return (
        reserved_argument(spec.engine.args, _RESERVED, abbreviates=False)
        or reserved_variable(spec, _RESERVED_ENV)
        or no_offload(spec, "LlamaCpp, whose cache beside its slots is known to restore other callers' conversations")
    )


def cache_promise(spec: ModelDeploymentSpec) -> CachePromise:
    """Whether llama.cpp keeps `spec.cache`: it cannot tell callers of one pool apart."""
    cache = spec.cache
    if cache.mode is CacheMode.DISABLED:
        return CachePromise(True, Reason.ENFORCED, NO_CACHE)
    if cache.no_store is NoStore.ISOLATED:
        message = (
            "`no-store` calls are refused: LlamaCpp has no cache salt; "
            "use `spec.cache.noStore: NotStored`, or VLLM or SGLang"
        )
        return CachePromise(False, Reason.ENGINE_CANNOT_ISOLATE, message)
    shared = "All calls share the cache"
    if cache.mode is CacheMode.TENANT:
        shared = f"{shared}: LlamaCpp cannot isolate tenants; {ONE_TENANT}"
    no_store = NOT_STORED if cache.no_store is NoStore.NOT_STORED else "`no-store` calls are refused"
    return CachePromise(True, Reason.ENFORCED, f"{shared}. {no_store}")


def prompt_cache(spec: ModelDeploymentSpec, pool: PoolName) -> PromptCache:
    """What llama.cpp's pods in a pool do with prompts."""
    return "none" if is_uncached(spec, pool) else "shared"


def seeds(spec: ModelDeploymentSpec) -> SeedHandling:
    """Equal seeds give equal answers only to calls that run alone and start from an empty cache.

    Measured by tests/truth/test_seeds.py: in company, or behind a prompt that was cached, logits differ in their last
    bits, and so does now and then an answer.
    """
    why, parallel = None, _parallel(spec)
    if spec.cache.mode is not CacheMode.DISABLED:
        why = "LlamaCpp repeats an answer only without a prompt cache; use `spec.cache.mode: Disabled`"
    elif parallel is not None and parallel > 1:
        why = f"LlamaCpp repeats only answers to calls that run alone, not {parallel} at once; remove `--parallel`"
    elif (drafting := named_flag(spec.engine.args, _DRAFTING)) is not None:
        why = f"how many tokens are guessed ahead changes answers; remove `{drafting}`"
    obstacle = Obstacle(Reason.ENGINE_CANNOT_REPEAT, why) if why is not None else None
    return SeedHandling("best_effort", obstacle, known=_SEEDS)


def adapter_fields(spec: ModelDeploymentSpec, index: int) -> Mapping[str, Any]:
    """The adapter by its place among the flags. llama.cpp takes one that is not there for none."""
    return {"lora": [{"id": index, "scale": 1}]}


def body_fields(spec: ModelDeploymentSpec) -> BodyFields:
    """The fields that llama.cpp has beside OpenAI's."""
    # `n_predict` and `n_cmpl` would win over the `max_tokens` and the `n` that a tenant's limit is checked by.
    remove = ("cache_prompt", "id_slot", "n_cache_reuse", "n_cmpl", "n_predict", "lora")
    return BodyFields(remove=remove, counts_one_choice=True)


def _parallel(spec: ModelDeploymentSpec) -> int | None:
    """Calls that one replica works on at once, as the spec says."""
    asked = flag_value(spec.engine.args, *_PARALLEL_FLAGS)
    return max(int(asked), 1) if asked is not None and asked.isdecimal() else None


def _threads(spec: ModelDeploymentSpec) -> int:
    cpu = spec.resources.cpu
    return max(whole(cpu), 1) if cpu is not None else _DEFAULT_THREADS


ENGINE = EngineDefinition(
    type="LlamaCpp",
    about="llama.cpp's server",
    default_image=default_image,
    container=container,
    refusal=refusal,
    cache_promise=cache_promise,
    prompt_cache=prompt_cache,
    seeds=seeds,
    adapter_fields=adapter_fields,
    body_fields=body_fields,
    # A call to the model takes over what an adapter left in its slot, and answers something else than it should.
    mixes_adapters=True,
    metrics=METRICS,
    # It closes the connection behind every streamed answer without saying so: a call sent at that moment would be lost.
    keeps_connections=False,
    loads_one_file=True,
    never_isolates=True,
)
