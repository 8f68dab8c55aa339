"""Engine modules by type."""

from collections.abc import Mapping

from tomoul.api.engine import EngineType
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.plan.engines import custom, llamacpp, sglang, vllm
from tomoul.plan.engines.base import EngineModule
from tomoul.plan.engines.version import Version, engine_version
from tomoul.plan.world import Settings

ENGINES: Mapping[EngineType, EngineModule] = {
    EngineType.VLLM: vllm,
    EngineType.SGLANG: sglang,
    EngineType.LLAMA_CPP: llamacpp,
    EngineType.CUSTOM: custom,
}


def engine_of(spec: ModelDeploymentSpec) -> EngineModule:
    """The module of the spec's engine."""
    return ENGINES[spec.engine.type]


def judged_version(spec: ModelDeploymentSpec) -> Version | None:
    """The version that the engine's promises are judged by; None if it is unknown, or none matters."""
    default = engine_of(spec).DEFAULT_VERSION
    return engine_version(spec, default) if default else None


def engine_image(spec: ModelDeploymentSpec, settings: Settings) -> str:
    """The spec's image, or its engine's at the spec's version; for LlamaCpp the installation decides."""
    engine = spec.engine
    if engine.image:
        return engine.image
    if engine.type is EngineType.LLAMA_CPP:
        return settings.llama_cpp_image
    module = engine_of(spec)
    return module.default_image(engine.version or module.DEFAULT_VERSION)
