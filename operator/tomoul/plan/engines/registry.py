"""Engine modules by type."""

from collections.abc import Mapping

from tomoul.api.modeldeployment import EngineType, ModelDeploymentSpec
from tomoul.plan.engines import llamacpp, sglang, vllm
from tomoul.plan.engines.base import EngineModule
from tomoul.plan.world import Settings

ENGINES: Mapping[EngineType, EngineModule] = {
    EngineType.VLLM: vllm,
    EngineType.SGLANG: sglang,
    EngineType.LLAMA_CPP: llamacpp,
}


def engine_of(spec: ModelDeploymentSpec) -> EngineModule:
    """The module of the spec's engine."""
    return ENGINES[spec.engine.type]


def engine_image(spec: ModelDeploymentSpec, settings: Settings) -> str:
    """The spec's image, or its engine's default, which for LlamaCpp the installation decides."""
    if spec.engine.image:
        return spec.engine.image
    return settings.llama_cpp_image if spec.engine.type is EngineType.LLAMA_CPP else engine_of(spec).DEFAULT_IMAGE
