"""Engines by type: every module of this package that defines one."""

import importlib
import pkgutil
from collections.abc import Mapping

from tomoul.api.enginetype import EngineType
from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.plan import engines
from tomoul.plan.engines.base import EngineDefinition
from tomoul.plan.engines.version import Version, engine_version
from tomoul.plan.settings import Settings


def _found() -> Mapping[str, EngineDefinition]:
    found: dict[str, EngineDefinition] = {}
    for each in pkgutil.iter_modules(engines.__path__, f"{engines.__name__}."):
        # Importing this module again would find it half made.
        engine = None if each.name == __name__ else getattr(importlib.import_module(each.name), "ENGINE", None)
        if isinstance(engine, EngineDefinition):
            assert engine.type not in found, f"{each.name} defines {engine.type}, which another module does"
            found[engine.type] = engine
    return dict(sorted(found.items()))


ENGINES: Mapping[str, EngineDefinition] = _found()


def engine_of(spec: ModelDeploymentSpec) -> EngineDefinition:
    """The spec's engine."""
    return ENGINES[spec.engine.type]


def judged_version(spec: ModelDeploymentSpec) -> Version | None:
    """The version that the engine's promises are judged by; None if it is unknown, or none matters."""
    default = engine_of(spec).default_version
    return engine_version(spec, default) if default else None


def engine_image(spec: ModelDeploymentSpec, settings: Settings) -> str:
    """The spec's image, or its engine's at the spec's version; for LlamaCpp the installation decides."""
    engine = spec.engine
    if engine.image:
        return engine.image
    if engine.type is EngineType.LLAMA_CPP:
        return settings.llama_cpp_image
    known = engine_of(spec)
    own = known.default_image(engine.version or known.default_version)
    return f"{settings.engine_registry}/{own}" if settings.engine_registry else own
