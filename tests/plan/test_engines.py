from typing import Any

import pytest

from tests.plan.specs import spec
from tomoul.api.cache import NoStore
from tomoul.api.conditions import Reason
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.plan.engines import llamacpp, sglang, vllm
from tomoul.plan.engines.registry import engine_image, engine_of, judged_version
from tomoul.plan.engines.version import Version, contradiction, image_version
from tomoul.plan.settings import Settings

TENANT_NOT_STORED = {"mode": "Tenant", "noStore": "NotStored"}


def engine_spec(engine: str, cache: dict[str, str] | None = None, **fields: Any) -> ModelDeploymentSpec:
    """A spec with those fields of `spec.engine`."""
    base = spec().model_dump(by_alias=True) | {"engine": {"type": engine} | fields, "cache": cache or {}}
    return ModelDeploymentSpec.model_validate(base)


def custom(cache: dict[str, str] | None = None, **fields: Any) -> ModelDeploymentSpec:
    """A Custom engine that declares those fields."""
    return engine_spec("Custom", cache, image="acme/own:1", args=["--listen", ":8000"], custom=fields)


def unchecked(found: ModelDeploymentSpec, no_store: NoStore) -> ModelDeploymentSpec:
    """A spec that the schema refuses, as one from a cluster with an older CRD may be."""
    return found.model_copy(update={"cache": found.cache.model_copy(update={"no_store": no_store})})


def test_vllm_serves_the_model_under_its_id_and_reports_cached_tokens() -> None:
    found = vllm.container(spec("VLLM", model={"id": "acme/chat"}), "default")
    assert found.command == ("vllm", "serve")
    assert found.args[found.args.index("--served-model-name") + 1] == "acme/chat"
    assert "--enable-prompt-tokens-details" in found.args


@pytest.mark.parametrize(
    ("engine", "image"),
    [
        ({"type": "VLLM", "version": "0.20.0"}, "registry.example.com/mirror/vllm/vllm-openai:v0.20.0"),
        ({"type": "SGLang", "version": "0.5.10"}, "registry.example.com/mirror/lmsysorg/sglang:v0.5.10"),
        ({"type": "VLLM", "image": "elsewhere.example.com/vllm:v1"}, "elsewhere.example.com/vllm:v1"),
        ({"type": "LlamaCpp"}, Settings().llama_cpp_image),
    ],
)
def test_the_images_of_other_projects_come_from_where_the_installation_mirrors_them(
    engine: dict[str, str], image: str
) -> None:
    assert engine_image(spec(engine), Settings(engine_registry="registry.example.com/mirror")) == image


@pytest.mark.parametrize(
    ("engine", "on", "off"),
    [
        ("VLLM", ("--enable-prefix-caching",), ("--no-enable-prefix-caching",)),
        ("SGLang", (), ("--disable-radix-cache",)),
        ("LlamaCpp", ("--cache-ram", "--no-cache-idle-slots", "--no-slots"), ("--no-cache-prompt",)),
    ],
)
def test_the_cache_is_off_in_the_pool_for_no_store_and_in_mode_off(
    engine: str, on: tuple[str, ...], off: tuple[str, ...]
) -> None:
    cached = spec(engine, cache=TENANT_NOT_STORED)
    default, no_store = (engine_of(cached).container(cached, pool).args for pool in ("default", "no-store"))
    assert set(on) <= set(default)
    assert not set(off) & set(default)
    assert set(off) <= set(no_store)
    mode_off = spec(engine, cache={"mode": "Disabled"})
    assert set(off) <= set(engine_of(mode_off).container(mode_off, "default").args)


def test_each_call_to_llama_cpp_gets_the_whole_context_window() -> None:
    found = llamacpp.container(spec("LlamaCpp", capabilities={"contextWindow": 4096}), "default").args
    assert int(found[found.index("--ctx-size") + 1]) == 4096 * int(found[found.index("--parallel") + 1])
    two = spec("LlamaCpp", capabilities={"contextWindow": 4096}, args=["-np", "2"])
    args = llamacpp.container(two, "default").args
    assert args[args.index("--ctx-size") + 1] == "8192"


@pytest.mark.parametrize(
    ("engine", "arg"),
    [
        ("VLLM", "--model=other/model"),
        ("VLLM", "--served-model-name"),
        ("VLLM", "--served_model_name=x"),
        ("VLLM", "--served-model"),
        ("VLLM", "--enable-prefix"),
        ("VLLM", "--kv-transfer-config.kv_connector"),
        ("VLLM", "--kv_events_config={}"),
        ("VLLM", "-tp=2"),
        ("VLLM", "-t"),
        ("VLLM", "-pp=2"),
        ("VLLM", "--nnodes=2"),
        ("VLLM", "--u"),
        ("VLLM", "-n2"),
        ("VLLM", "--log-level=DEBUG"),
        ("VLLM", "--logging-config.log_level"),
        ("VLLM", "--log-config-file"),
        ("VLLM", "--ec-transfer-config"),
        ("VLLM", "--prefix-caching-hash-algo=xxhash"),
        ("SGLang", "--disable-radix-cache"),
        ("SGLang", "--tool-call"),
        ("SGLang", "--pp-size=2"),
        ("SGLang", "--nnodes=2"),
        ("SGLang", "--kv-events"),
        ("SGLang", "--crash_dump_folder=/tmp"),
        ("SGLang", "--enable-hicache"),
        ("SGLang", "--tp=2"),
        ("SGLang", "--enable_flexkv"),
        ("SGLang", "--trust-mm-content-hashes"),
        ("SGLang", "--speculative-algorithm=NGRAM"),
        ("SGLang", "--speculative_algo=ngram"),
        ("LlamaCpp", "-m"),
        ("LlamaCpp", "--cache-ram"),
        ("LlamaCpp", "--slots"),
        ("LlamaCpp", "--cache_prompt"),
        ("LlamaCpp", "--cache_ram=8192"),
        ("LlamaCpp", "--lookup-cache-dynamic"),
        ("LlamaCpp", "-lcd"),
        ("LlamaCpp", "--lookup_cache_static"),
        ("LlamaCpp", "--log-prompts-dir"),
        ("LlamaCpp", "-s42"),
        ("LlamaCpp", "-m/models/other.gguf"),
    ],
)
def test_an_argument_that_a_promise_rests_on_is_refused_by_its_place(engine: str, arg: str) -> None:
    found = spec(engine, args=["--top-k", "1", arg])
    refusal = engine_of(found).refusal(found)
    assert refusal is not None
    assert refusal.reason is Reason.UNSUPPORTED_BY_ENGINE
    assert refusal.field == "spec.engine.args[2]"
    assert f"`{arg}`" in refusal.message


@pytest.mark.parametrize(
    ("engine", "args"),
    [
        ("VLLM", ["--max-num-seqs", "64", "--gpu-memory-utilization=0.9", "--enforce-eager"]),
        ("SGLang", ["--mem-fraction-static", "0.8", "--attention-backend=fa3"]),
        ("LlamaCpp", ["--threads", "4", "-np", "2", "--temp", "-1", "--cache"]),
    ],
)
def test_other_arguments_are_passed_on_last(engine: str, args: list[str]) -> None:
    found = spec(engine, args=args)
    assert engine_of(found).refusal(found) is None
    assert engine_of(found).container(found, "default").args[-len(args) :] == tuple(args)


def test_llama_cpp_refuses_a_number_of_parallel_calls_that_is_none() -> None:
    refusal = llamacpp.refusal(spec("LlamaCpp", args=["--parallel", "many"]))
    assert refusal is not None
    assert refusal.field == "spec.engine.args[0]"


def test_llama_cpp_repeats_only_answers_to_calls_that_run_alone_and_start_empty() -> None:
    alone = spec("LlamaCpp", cache={"mode": "Disabled"}, resources={"cpu": "2500m"})
    assert llamacpp.seeds(alone).obstacle is None
    args = llamacpp.container(alone, "default", deterministic=True).args
    assert (args[args.index("--parallel") + 1], args[args.index("--threads") + 1]) == ("1", "3")
    assert "--no-cache-prompt" in args
    for other in (
        spec("LlamaCpp"),
        spec("LlamaCpp", args=["-np", "2"], cache={"mode": "Disabled"}),
        spec("LlamaCpp", args=["--draft-max=8"], cache={"mode": "Disabled"}),
    ):
        found = llamacpp.seeds(other)
        assert found.worth == "best_effort"
        assert found.obstacle is not None
        assert found.obstacle.reason is Reason.ENGINE_CANNOT_REPEAT


GPU = {"accelerator": "nvidia-l4"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"engine": {"type": "VLLM"}}, None),
        ({"engine": {"type": "VLLM", "version": "0.31.1"}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "VLLM", "image": "acme/vllm:latest"}}, Reason.ENGINE_VERSION_UNKNOWN),
        ({"engine": {"type": "VLLM", "args": ["--speculative-config={}"]}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "VLLM", "args": ["-sc", "{}"]}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "VLLM"}, "resources": {}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "SGLang"}}, None),
        ({"engine": {"type": "SGLang", "version": "0.5.22"}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "SGLang", "args": ["--speculative_algorithm", "EAGLE"]}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "Custom", "image": "a/b:1"}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "Custom", "image": "a/b:1", "custom": {"seed": "Ignored"}}}, Reason.ENGINE_CANNOT_REPEAT),
        ({"engine": {"type": "Custom", "image": "a/b:1", "custom": {"seed": "Deterministic"}}}, None),
    ],
)
def test_what_keeps_an_engine_from_repeating_an_answer(fields: dict[str, Any], reason: Reason | None) -> None:
    found = spec(**{"resources": GPU, **fields})
    obstacle = engine_of(found).seeds(found).obstacle
    assert (obstacle.reason if obstacle is not None else None) == reason


def test_engines_outside_of_their_deterministic_mode_do_their_best_or_ignore_seeds() -> None:
    ignoring = spec(engine={"type": "Custom", "image": "a/b:1", "custom": {"seed": "Ignored"}})
    specs = {name: spec(name, resources=GPU) for name in ("VLLM", "SGLang", "LlamaCpp")}
    worths = {name: engine_of(found).seeds(found).worth for name, found in specs.items()}
    assert worths == {"VLLM": "best_effort", "SGLang": "ignored", "LlamaCpp": "best_effort"}
    assert engine_of(ignoring).seeds(ignoring).worth == "ignored"
    assert llamacpp.seeds(spec("LlamaCpp")).known == 2**32 - 1


def test_vllm_gets_no_seed_on_cpus_where_one_may_end_it() -> None:
    on_cpus, on_gpus = spec("VLLM", resources={}), spec("VLLM", resources=GPU)
    assert vllm.seeds(on_cpus).worth == "ignored"
    assert "seed" in vllm.body_fields(on_cpus).remove
    assert "seed" not in vllm.body_fields(on_gpus).remove


def test_the_deterministic_mode_of_each_engine_is_what_it_calls_it() -> None:
    on, off = (vllm.container(spec("VLLM"), "default", deterministic=on) for on in (True, False))
    assert (on.env, off.env) == ({"VLLM_BATCH_INVARIANT": "1"}, {})
    assert on.args == off.args
    flag = "--enable-deterministic-inference"
    assert flag in sglang.container(spec("SGLang"), "default", deterministic=True).args
    assert flag not in sglang.container(spec("SGLang"), "default").args


def test_llama_cpp_cannot_isolate_a_call_and_says_what_can() -> None:
    promise = llamacpp.cache_promise(unchecked(spec("LlamaCpp"), NoStore.ISOLATED))
    assert not promise.kept
    assert promise.reason is Reason.ENGINE_CANNOT_ISOLATE
    assert "NotStored" in promise.message


def test_llama_cpp_says_that_tenants_share_its_cache() -> None:
    promise = llamacpp.cache_promise(spec("LlamaCpp", cache={"mode": "Tenant"}))
    assert promise.kept
    assert "cannot isolate tenants" in promise.message


@pytest.mark.parametrize(
    ("image", "kept"),
    [
        ("lmsysorg/sglang:v0.5.10.post1", False),
        ("lmsysorg/sglang:v0.5.11", True),
        ("lmsysorg/sglang:v0.5.23-cu129", True),
        ("images.example:5000/acme/sglang@sha256:0123", False),
        ("lmsysorg/sglang:v0.5.11.rc1", False),
        ("acme/sglang:latest", False),
        (None, True),
    ],
)
def test_an_image_of_a_version_that_drops_the_salt_or_is_unknown_cannot_isolate(image: str | None, kept: bool) -> None:
    found = spec("SGLang", image=image, cache={"mode": "Tenant", "noStore": "Isolated"})
    assert sglang.cache_promise(found).kept is kept


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.32.0", Version(0, 32, 0)),
        ("images.example:5000/a/b:1.2.3-x@sha256:00", Version(1, 2, 3)),
        ("a:0.9.0rc1", Version(0, 9, 0, released=False)),
        ("a:0.5.10.post1", Version(0, 5, 10)),
        ("images.example:5000/a/b", None),
        ("a:latest", None),
    ],
)
def test_a_version_is_read_from_an_images_tag(image: str, version: Version | None) -> None:
    assert image_version(image) == version


@pytest.mark.parametrize(
    ("image", "version", "named"),
    [
        ("acme/vllm:v0.8.5", "0.32.0", "0.8.5"),
        ("acme/vllm:v0.32.0rc1@sha256:00", "0.32.0", "0.32.0 (before its release)"),
        ("acme/vllm:v0.32.0-cu129", "0.32.0", None),
        ("acme/vllm:0.10.1", "0.10.1.post2", None),
        ("acme/vllm:latest", "0.32.0", None),
        ("acme/vllm:v0.8.5", None, None),
        (None, "0.8.5", None),
    ],
)
def test_a_version_that_an_images_tag_contradicts_is_told_and_counts_all_the_same(
    image: str | None, version: str | None, named: str | None
) -> None:
    found = engine_spec("VLLM", image=image, version=version)
    told = contradiction(found)
    assert bool(told) == (named is not None)
    if named is not None:
        assert told.startswith("spec.engine.version: ")
        assert f"names {named}:" in told
        assert str(judged_version(found)) == version


@pytest.mark.parametrize(
    ("found", "cache"),
    [
        (spec("VLLM"), "salted"),
        (spec("VLLM", image="vllm/vllm-openai:v0.8.5"), "shared"),
        (spec("VLLM", cache={"mode": "Disabled"}), "none"),
        (spec("SGLang"), "salted"),
        (spec("SGLang", image="lmsysorg/sglang:v0.5.10"), "shared"),
        (spec("SGLang", cache={"mode": "Disabled"}), "none"),
        (spec("VLLM", image="acme/vllm:latest"), "shared"),
        (engine_spec("VLLM", image="acme/vllm:latest", version="0.9.0"), "salted"),
        (engine_spec("VLLM", image="vllm/vllm-openai:v0.32.0", version="0.8.5"), "shared"),
        (engine_spec("SGLang", version="0.5.10.post1"), "shared"),
        (custom(), "shared"),
        (custom(promptCache="Salted", saltField="salt", noCacheArgs=["--off"]), "salted"),
        (custom(promptCache="None"), "none"),
        (spec("LlamaCpp"), "shared"),
        (spec("LlamaCpp", cache={"mode": "Disabled"}), "none"),
    ],
)
def test_an_engine_says_what_it_does_with_prompts(found: ModelDeploymentSpec, cache: str) -> None:
    assert engine_of(found).prompt_cache(found, "default") == cache
    assert engine_of(found).prompt_cache(found, "no-store") == "none"


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("VLLM", "HOME"),
        ("VLLM", "HF_TOKEN"),
        ("VLLM", "VLLM_SERVER_DEV_MODE"),
        ("VLLM", "VLLM_DEBUG_LOG_API_SERVER_RESPONSE"),
        ("VLLM", "VLLM_MEDIA_CACHE"),
        ("VLLM", "VLLM_SKIP_MODEL_NAME_VALIDATION"),
        ("VLLM", "VLLM_USE_RUST_FRONTEND"),
        ("SGLang", "SGLANG_RADIX_FORCE_MISS"),
        ("SGLang", "SGLANG_HICACHE_FILE_BACKEND_STORAGE_DIR"),
        ("SGLang", "SGLANG_PLUGINS"),
        ("LlamaCpp", "LLAMA_ARG_CACHE_PROMPT"),
        ("LlamaCpp", "LLAMA_CACHE"),
        ("Custom", "PORT"),
    ],
)
def test_a_variable_that_a_promise_rests_on_is_refused_by_its_place(engine: str, name: str) -> None:
    image = {"image": "acme/own:1"} if engine == "Custom" else {}
    found = engine_spec(engine, env=[{"name": "OMP_NUM_THREADS", "value": "4"}, {"name": name, "value": "1"}], **image)
    refusal = engine_of(found).refusal(found)
    assert refusal is not None
    assert refusal.reason is Reason.UNSUPPORTED_BY_ENGINE
    assert refusal.field == "spec.engine.env[1].name"
    assert f"`{name}`" in refusal.message


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("VLLM", "VLLM_ATTENTION_BACKEND"),
        ("VLLM", "NCCL_DEBUG"),
        ("SGLang", "SGLANG_HOST_IP"),
        ("LlamaCpp", "GGML_CUDA_FORCE_MMQ"),
    ],
)
def test_other_variables_are_the_users(engine: str, name: str) -> None:
    found = engine_spec(engine, env=[{"name": name, "value": "1"}])
    assert engine_of(found).refusal(found) is None


@pytest.mark.parametrize(
    ("engine", "image"),
    [("VLLM", "vllm/vllm-openai:v0.31.1"), ("SGLang", "lmsysorg/sglang:v0.31.1")],
)
def test_a_version_chooses_the_engines_own_image_and_leaves_another_alone(engine: str, image: str) -> None:
    assert engine_image(engine_spec(engine, version="0.31.1"), Settings()) == image
    assert engine_image(engine_spec(engine, version="0.31.1", image="acme/own:7"), Settings()) == "acme/own:7"


def test_what_is_not_known_of_an_image_is_asked_for_by_its_field() -> None:
    found = engine_spec("VLLM", {"noStore": "Isolated"}, image="acme/vllm:latest")
    promise = vllm.cache_promise(found)
    assert promise.reason is Reason.ENGINE_VERSION_UNKNOWN
    assert "`spec.engine.version`" in promise.message
    said = engine_spec("VLLM", {"noStore": "Isolated"}, image="acme/vllm:latest", version="0.32.0")
    assert vllm.cache_promise(said).kept


@pytest.mark.parametrize(
    ("cache", "declared", "field"),
    [
        ({"mode": "Disabled"}, {}, "spec.engine.custom.noCacheArgs"),
        ({"noStore": "NotStored"}, {"promptCache": "Salted", "saltField": "salt"}, "spec.engine.custom.noCacheArgs"),
        ({"noStore": "Isolated"}, {"promptCache": "None"}, "spec.cache.mode"),
        ({"noStore": "Isolated"}, {}, "spec.cache.noStore"),
        ({"noStore": "Isolated"}, {"noCacheArgs": ["--off"]}, "spec.cache.noStore"),
    ],
)
def test_a_custom_engine_that_declares_no_means_to_keep_a_promise_is_refused(
    cache: dict[str, str], declared: dict[str, Any], field: str
) -> None:
    found = custom(cache, **declared)
    refusal = engine_of(found).refusal(found)
    assert refusal is not None
    assert refusal.field == field


@pytest.mark.parametrize(
    ("cache", "declared"),
    [
        ({"mode": "Disabled"}, {"promptCache": "None"}),
        ({"noStore": "NotStored"}, {"noCacheArgs": ["--off"]}),
        ({"noStore": "Isolated"}, {"promptCache": "Salted", "saltField": "salt"}),
        ({"mode": "Disabled", "noStore": "Isolated"}, {"promptCache": "None"}),
        ({"noStore": "Refuse"}, {}),
    ],
)
def test_a_custom_engine_keeps_what_it_declares_the_means_for(cache: dict[str, str], declared: dict[str, Any]) -> None:
    found = custom(cache, **declared)
    assert engine_of(found).refusal(found) is None
    promise = engine_of(found).cache_promise(found)
    assert promise.kept
    assert "which Tomoul cannot check" in promise.message


def test_a_custom_engines_cache_is_turned_off_only_where_there_is_to_be_none() -> None:
    found = custom({"noStore": "NotStored"}, noCacheArgs=["--cache", "0"])
    module = engine_of(found)
    assert module.container(found, "default").args == ("--listen", ":8000")
    assert module.container(found, "no-store").args == ("--listen", ":8000", "--cache", "0")


def test_nobody_but_the_gateway_sets_a_custom_engines_salt() -> None:
    found = custom(promptCache="Salted", saltField="salt", removeFields=["slot", "salt"])
    fields = engine_of(found).body_fields(found)
    assert fields.salt == "salt"
    assert set(fields.remove) == {"salt", "slot"}


OFFLOAD = {"mode": "Tenant", "noStore": "NotStored", "offload": {"memory": "48Gi"}}
TWO_GPUS = {"accelerator": "nvidia-l4", "count": 2, "memory": "64Gi"}


def offloading(engine: str | dict[str, Any] = "VLLM", **fields: Any) -> ModelDeploymentSpec:
    return spec(engine, **{"cache": OFFLOAD, "resources": TWO_GPUS, **fields})


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        ("VLLM", ["--kv-offloading-size", "48", "--kv-offloading-backend", "native"]),
        ("SGLang", ["--enable-hierarchical-cache", "--hicache-size", "25"]),
    ],
)
def test_what_is_offloaded_is_in_the_pool_with_a_cache_and_never_in_the_one_without(
    engine: str, flags: list[str]
) -> None:
    found = offloading(engine)
    module = engine_of(found)
    assert module.refusal(found) is None
    default, no_store, plain = (
        list(module.container(each, pool).args)
        for each, pool in ((found, "default"), (found, "no-store"), (spec(engine, resources=TWO_GPUS), "default"))
    )
    start = default.index(flags[0])
    assert default[start : start + len(flags)] == flags
    assert not set(flags[::2]) & set(no_store)
    assert not set(flags[::2]) & set(plain)
    promise = module.cache_promise(found)
    assert promise.kept
    assert "isolates the cache, also what of it lies in 48Gi of each pod's memory" in promise.message


@pytest.mark.parametrize(
    ("found", "field", "words"),
    [
        (offloading({"type": "VLLM", "version": "0.31.1"}), "spec.cache.offload", "use 0.32.0 or newer"),
        (offloading({"type": "VLLM", "image": "a/vllm:latest"}), "spec.cache.offload", "`spec.engine.version`"),
        (offloading({"type": "SGLang", "version": "0.5.22"}), "spec.cache.offload", "use 0.5.23 or newer"),
        (offloading("LlamaCpp"), "spec.cache.offload", "other callers' conversations"),
        (
            offloading({"type": "Custom", "image": "a/b:1", "custom": {"noCacheArgs": ["x"]}}),
            "spec.cache.offload",
            "`args`",
        ),
        (offloading(resources={**TWO_GPUS, "memory": "48Gi"}), "spec.cache.offload.memory", "`spec.resources.memory`"),
        (
            offloading(resources={**TWO_GPUS, "nodes": 2, "memory": "96Gi"}),
            "spec.cache.offload.memory",
            "`48Gi` times 2 must be less than `spec.resources.memory`",
        ),
        (
            offloading("SGLang", cache={**OFFLOAD, "offload": {"memory": "1500M"}}),
            "spec.cache.offload.memory",
            "`1G` for each of a pod's 2 GPUs",
        ),
    ],
)
def test_an_engine_that_cannot_offload_as_it_is_asked_to_is_refused(
    found: ModelDeploymentSpec, field: str, words: str
) -> None:
    refusal = engine_of(found).refusal(found)
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.UNSUPPORTED_BY_ENGINE, field)
    assert words in refusal.message


def test_vllms_pods_on_several_nodes_offload_where_each_has_room_for_what_all_of_them_do() -> None:
    roomy = offloading(resources={**TWO_GPUS, "nodes": 2, "memory": "97Gi"})
    assert vllm.refusal(roomy) is None
    args = vllm.container(roomy, "default").args
    assert args[args.index("--kv-offloading-size") + 1] == "96"
    assert sglang.refusal(offloading("SGLang", resources={**TWO_GPUS, "nodes": 2})) is None


def test_vllm_is_refused_adapters_where_no_gpu_is_named() -> None:
    adapters = [{"id": "acme/legal", "source": {"file": {"path": "/legal"}}}]
    refusal = vllm.refusal(spec("VLLM", adapters=adapters, resources={}))
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.UNSUPPORTED_BY_ENGINE, "spec.adapters")
    assert "name `spec.resources.accelerator`" in refusal.message
    assert vllm.refusal(spec("VLLM", adapters=adapters, resources=TWO_GPUS)) is None


def test_sglang_repeats_answers_and_offloads_only_with_an_attention_backend_that_keeps_its_tree() -> None:
    assert sglang.seeds(offloading("SGLang")).obstacle is not None
    assert sglang.seeds(offloading("SGLang", args=["--attention-backend", "triton"])).obstacle is None
    assert sglang.seeds(offloading("SGLang", args=["--attention-backend=flashinfer"])).obstacle is not None
    assert vllm.seeds(offloading()).obstacle is None


@pytest.mark.parametrize(
    ("engine", "tensor", "pipeline"),
    [("VLLM", "--tensor-parallel-size", "--pipeline-parallel-size"), ("SGLang", "--tp-size", "--pp-size")],
)
def test_the_gpus_of_a_replica_form_as_many_stages_as_are_asked_for(engine: str, tensor: str, pipeline: str) -> None:
    def args(**resources: int) -> tuple[str, ...]:
        found = spec(engine, resources={"accelerator": "nvidia-h100", **resources})
        return engine_of(found).container(found, "default").args

    staged = args(count=8, pipeline=2)
    assert (staged[staged.index(tensor) + 1], staged[staged.index(pipeline) + 1]) == ("4", "2")
    plain = args(count=8)
    assert plain[plain.index(tensor) + 1] == "8"
    assert pipeline not in plain


@pytest.mark.parametrize("engine", ["LlamaCpp", "Custom"])
def test_an_engine_that_is_not_told_of_stages_refuses_them(engine: str) -> None:
    image = "acme/own:1" if engine == "Custom" else None
    found = spec(engine, image=image, resources={"accelerator": "nvidia-h100", "count": 2, "pipeline": 2})
    refusal = engine_of(found).refusal(found)
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.UNSUPPORTED_BY_ENGINE, "spec.resources.pipeline")
