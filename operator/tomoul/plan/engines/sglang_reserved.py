"""What of SGLang nobody else sets: arguments and variables that a promise rests on, and fields of bodies."""

_ADAPTERS = "`spec.adapters` lists the LoRA adapters"
_CACHE = "`spec.cache` decides who shares the prompt cache"
_ADDRESS = "the gateway reaches the engine where the operator says"
_SOURCE = "`spec.source` names the weights"
_COUNT = "`spec.resources.count` decides how many GPUs work together"
_SESSION = "it keeps what calls said for later calls"
_PIPELINE = "`spec.resources.pipeline` decides how many stages the GPUs form"
_NODES = "`spec.resources.nodes` decides how many pods one replica is made of"
ARGUMENTS = {
    "--model": _SOURCE,
    "--model-path": _SOURCE,
    "--revision": _SOURCE,
    "--served-model-name": "`spec.model.id` is the name that the engine serves",
    "--host": _ADDRESS,
    "--port": _ADDRESS,
    "--ssl-keyfile": _ADDRESS,
    "--ssl-certfile": _ADDRESS,
    "--api-key": "the gateway alone calls the engine, and without a key",
    "--config": "a file could set what the operator sets",
    "--disable-radix-cache": _CACHE,
    "--enable-hierarchical-cache": _CACHE,
    "--enable-hicache": _CACHE,
    "--enable-lmcache": _CACHE,
    "--enable-flexkv": _CACHE,
    "--enable-unified-cache-external-linker": _CACHE,
    "--radix-cache-backend": f"{_CACHE}, and another backend may ignore the salt",
    "--trust-mm-content-hashes": f"{_CACHE}, and a client could name another's image as its own",
    "--enable-session-radix-cache": _SESSION,
    "--enable-streaming-session": _SESSION,
    "--enable-response-store": _SESSION,
    "--enable-custom-logit-processor": "code that a call brings would run among the calls of others",
    "--debug-tensor-dump-output-folder": "prompts must not be written to files",
    "--enable-deterministic-inference": "`spec.capabilities.seed` decides what a seed is worth",
    "--rl-on-policy-target": "`spec.capabilities.seed` decides what a seed is worth",
    "--kv-events-config": "it publishes the tokens of prompts",
    "--hicache-size": _CACHE,
    "--hicache-ratio": _CACHE,
    "--hicache-storage-backend": _CACHE,
    "--enable-lora": _ADAPTERS,
    "--lora-paths": _ADAPTERS,
    "--max-loras-per-batch": _ADAPTERS,
    "--context-length": "`spec.capabilities.contextWindow` is the longest context",
    "--tensor-parallel-size": _COUNT,
    "--tp-size": _COUNT,
    "--pipeline-parallel-size": _PIPELINE,
    "--pp-size": _PIPELINE,
    "--nnodes": _NODES,
    "--node-rank": _NODES,
    "--dist-init-addr": _NODES,
    "--nccl-init-addr": _NODES,
    "--tool-call-parser": "`spec.capabilities.tools` decides about tool calling",
    "--enable-cache-report": "usage is counted by it",
    "--crash-dump-folder": "prompts must not be written to files",
    "--log-requests": "prompts must not be logged",
    "--log-requests-level": "prompts must not be logged",
}
# As `--speculative-algorithm`: `_update_ngram_corpus` of srt/speculative/ngram_worker.py puts ends of prompts and
# the answers to them into one store, from which all calls' next tokens are guessed, whatever their salts.
REMEMBERING = "NGRAM"
VARIABLES = {
    "SGLANG_ENABLE_DETERMINISTIC_INFERENCE": "the operator decides what a seed promises",
    "SGLANG_HICACHE_*": _CACHE,
    "SGLANG_HTTP_SERVER_APP_PATH": "it could change what calls and answers say",
    "SGLANG_LOG_REQUEST_*": "calls must not be logged",
    "SGLANG_PLUGINS": "they could change what calls and answers say",
    "SGLANG_PORT": _ADDRESS,
    "SGLANG_RADIX_*": _CACHE,
}

# Beside the cache's: other calls' ids and sessions, the order of calls, which rank or host takes part in one, and code.
BODY_FIELDS = (
    *("bootstrap_host", "bootstrap_port", "bootstrap_room", "cache_salt", "custom_logit_processor"),
    *("data_parallel_rank", "disagg_prefill_dp_rank", "extra_key", "lora_path", "priority", "rid", "routed_dp_rank"),
    *("session_id", "session_params"),
)
