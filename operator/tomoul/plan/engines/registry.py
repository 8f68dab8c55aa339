"""Engine modules by type."""

from collections.abc import Mapping

from tomoul.api.modeldeployment import EngineType, ModelDeploymentSpec
from tomoul.plan.engines import llamacpp, sglang, vllm
from tomoul.plan.engines.base import EngineModule

ENGINES: Mapping[EngineType, EngineModule] = {
    EngineType.VLLM: vllm,
    EngineType.SGLANG: sglang,
    EngineType.LLAMA_CPP: llamacpp,
}


def engine_of(spec: ModelDeploymentSpec) -> EngineModule:
    """The module of the spec's engine."""
    return ENGINES[spec.engine.type]


def engine_image(spec: ModelDeploymentSpec) -> str:
    """The spec's image, or its engine's default."""
    return spec.engine.image or engine_of(spec).DEFAULT_IMAGE
