"""Engine Deployments as processes: which commands run in the place of a plan's engine pods."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tomoul.api.enginetype import EngineType
from tomoul.api.meta import COMPONENT_ENGINE, LABEL_COMPONENT, LABEL_MODEL_DEPLOYMENT, LABEL_POOL, LABEL_REGION
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.gateway.compile.resources import PoolKey
from tomoul.local.models import NotLocalError, local_file
from tomoul.plan.world import Key, Manifest, World

_KINDS = ("Deployment", "LeaderWorkerSet")
"""What of a plan has engines as its replicas."""


@dataclass(frozen=True)
class EngineCommand:
    """One replica of an engine; equal commands are the same process."""

    pool: PoolKey
    replica: int
    region: str
    model: str
    no_store: bool
    """Whether its pool takes `no-store` calls only."""
    arguments: tuple[str, ...]
    file: Path
    environment: tuple[tuple[str, str], ...] = ()
    """What the spec adds to its environment."""
    adapters: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Name of the process and its log."""
        return f"{self.pool.service}-{self.replica}"

    def argv(self, port: int) -> list[str]:
        """Command line: the pod's arguments, with the address and the file overridden, since the last flag counts."""
        here = ["--host", "127.0.0.1", "--port", str(port), "--model", str(self.file)]
        if self.adapters:
            here += ["--lora-scaled", ",".join(f"{file}:0" for file in self.adapters)]
        # One thread: many engines share few cores. It comes first, so that `spec.engine.args` may override it.
        return [sys.executable, "-m", "tomoul.local.llama_server", "--threads", "1", *self.arguments, *here]


def engine_commands(
    objects: Iterable[Manifest], world: World, folder: Path
) -> tuple[tuple[EngineCommand, ...], tuple[str, ...]]:
    """Commands for the engine Deployments among `objects`, and why others are not run on this machine."""
    commands: list[EngineCommand] = []
    refusals: dict[str, None] = {}
    for manifest in objects:
        labels = manifest["metadata"].get("labels", {})
        if manifest["kind"] not in _KINDS or labels.get(LABEL_COMPONENT) != COMPONENT_ENGINE:
            continue
        key = Key(manifest["metadata"]["namespace"], labels[LABEL_MODEL_DEPLOYMENT])
        model = world.models[key]
        try:
            file, *adapters = _files(model, folder)
        except NotLocalError as error:
            refusals[f"ModelDeployment {key.namespace}/{key.name} is not run locally: {error}"] = None
            continue
        # Without `replicas` an autoscaler decides in a cluster; here it is one.
        for replica in range(manifest["spec"].get("replicas", 1)):
            command = EngineCommand(
                pool=PoolKey(key.namespace, manifest["metadata"]["name"]),
                replica=replica,
                region=labels[LABEL_REGION],
                model=model.spec.model.id,
                no_store=labels[LABEL_POOL] == "no-store",
                arguments=tuple(manifest["spec"]["template"]["spec"]["containers"][0].get("args", ())),
                file=file,
                environment=tuple((each.name, each.value or "") for each in model.spec.engine.env),
                adapters=tuple(adapters),
            )
            commands.append(command)
    return tuple(commands), tuple(refusals)


def _files(model: ModelDeployment, folder: Path) -> list[Path]:
    """The model's file, then its adapters'."""
    engine = model.spec.engine.type
    if model.spec.resources.nodes > 1:
        raise NotLocalError(f"`spec.resources.nodes: {model.spec.resources.nodes}` takes several machines")
    if engine is not EngineType.LLAMA_CPP:
        raise NotLocalError(f"`spec.engine.type: {engine}` needs its image; only LlamaCpp runs as a process")
    if secret := next((each.name for each in model.spec.engine.env if each.secret is not None), ""):
        raise NotLocalError(f"variable `{secret}` of `spec.engine.env` is from a Secret, and there are none here")
    sources = {"spec.source": model.spec.source}
    for index, adapter in enumerate(model.spec.adapters):
        sources[f"spec.adapters[{index}].source"] = adapter.source
    found = []
    for field, source in sources.items():
        if source.file is None:
            raise NotLocalError(f"only `{field}.file` is found here, not `hf`, `s3`, `oci` or `pvc`")
        found.append(local_file(source.file.path, folder))
    return found
