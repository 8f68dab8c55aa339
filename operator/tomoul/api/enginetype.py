"""Engines by name, and what specs are refused for early. Generated from plan/engines by `make generate`."""

from enum import StrEnum


class EngineType(StrEnum):
    """Custom: any server that speaks OpenAI's chat completions;
    LlamaCpp: llama.cpp's server;
    SGLang;
    VLLM.
    """

    CUSTOM = "Custom"
    LLAMA_CPP = "LlamaCpp"
    SGLANG = "SGLang"
    VLLM = "VLLM"


VERSIONED: tuple[EngineType, ...] = (
    EngineType.SGLANG,
    EngineType.VLLM,
)
"""What is promised of them depends on their version."""
PARSES_TOOLS: tuple[EngineType, ...] = (
    EngineType.SGLANG,
    EngineType.VLLM,
)
"""They recognise tool calls by a parser that has to be named."""
LOADS_ONE_FILE: tuple[EngineType, ...] = (EngineType.LLAMA_CPP,)
"""They load a single file of a source."""
NEVER_ISOLATES: tuple[EngineType, ...] = (EngineType.LLAMA_CPP,)
"""They cannot isolate one call in a cache."""
