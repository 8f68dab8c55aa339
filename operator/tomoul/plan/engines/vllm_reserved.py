"""What of vLLM nobody else sets: arguments and variables that a promise rests on."""

_CACHE = "`spec.cache` decides who shares the prompt cache"
_ADDRESS = "the gateway reaches the engine where the operator says"
_SOURCE = "`spec.source` names the weights"
_TOOLS = "`spec.capabilities.tools` decides about tool calling"
_COUNT = "`spec.resources.count` decides how many GPUs work together"
_KEY = "the gateway alone calls the engine, and without a key"
_FINEST = "at its finest it logs prompts and answers"
_ADAPTERS = "`spec.adapters` lists the LoRA adapters"
_PIPELINE = "`spec.resources.pipeline` decides how many stages the GPUs form"
_NODES = "`spec.resources.nodes` decides how many pods one replica is made of"
ARGUMENTS = {
    "--model": _SOURCE,
    "--revision": _SOURCE,
    "--hf-token": "`spec.source.hf.token` names the Secret",
    "--served-model-name": "`spec.model.id` is the name that the engine serves",
    "--host": _ADDRESS,
    "--port": _ADDRESS,
    "--uds": _ADDRESS,
    "--root-path": _ADDRESS,
    "--ssl-keyfile": _ADDRESS,
    "--ssl-certfile": _ADDRESS,
    "--api-key": _KEY,
    "--middleware": "it could change what calls and answers say",
    "--config": "a file could set what the operator sets",
    "--enable-prefix-caching": _CACHE,
    "--no-enable-prefix-caching": _CACHE,
    "--kv-transfer-config": f"{_CACHE}, and connectors may ignore the salt",
    "--kv-events-config": "it publishes the tokens of prompts",
    "--ec-transfer-config": f"{_CACHE}, and connectors may ignore the salt",
    "--prefix-caching-hash-algo": f"{_CACHE}, and weaker hashes do not keep them apart",
    "--kv-offloading-size": _CACHE,
    "--kv-offloading-backend": _CACHE,
    "--max-model-len": "`spec.capabilities.contextWindow` is the longest context",
    "--tensor-parallel-size": _COUNT,
    "-tp": _COUNT,
    "--pipeline-parallel-size": _PIPELINE,
    "-pp": _PIPELINE,
    "--nnodes": _NODES,
    "-n": _NODES,
    "--node-rank": _NODES,
    "-r": _NODES,
    "--master-addr": _NODES,
    "--master-port": _NODES,
    "--headless": _NODES,
    "--enable-lora": _ADAPTERS,
    "--no-enable-lora": _ADAPTERS,
    "--lora-modules": _ADAPTERS,
    "--max-loras": _ADAPTERS,
    "--max-lora-rank": _ADAPTERS,
    "--enable-auto-tool-choice": _TOOLS,
    "--no-enable-auto-tool-choice": _TOOLS,
    "--tool-call-parser": _TOOLS,
    "--enable-prompt-tokens-details": "usage is counted by it",
    "--no-enable-prompt-tokens-details": "usage is counted by it",
    "--enable-log-requests": "prompts must not be logged",
    "--log-config-file": "a file could set what is logged",
    "--log-level": _FINEST,
    "--logging-config": _FINEST,
}
VARIABLES = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "it opens calls that change the engine",
    "VLLM_API_KEY": _KEY,
    "VLLM_BATCH_INVARIANT": "the operator decides what a seed promises",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "answers must not be logged",
    "VLLM_ENABLE_RESPONSES_API_STORE": "it keeps what calls said",
    "VLLM_LOGGING_LEVEL": _FINEST,
    "VLLM_LOGGING_CONFIG_PATH": "a file could set what is logged",
    "VLLM_MEDIA_CACHE": "it keeps what calls brought for others' calls",
    "VLLM_MODEL_REDIRECT_PATH": _SOURCE,
    "VLLM_PLUGINS": "they could change what calls and answers say",
    "VLLM_SERVER_DEV_MODE": "it opens calls that change the engine",
    "VLLM_SKIP_MODEL_NAME_VALIDATION": "the model would answer calls to adapters that a pod lacks",
    "VLLM_USE_RUST_FRONTEND": "of another server nobody has shown that it knows the salt",
    "VLLM_USE_SIMPLE_KV_OFFLOAD": _CACHE,
    "VLLM_USE_V1": "the old engine knows no cache salt",
}
