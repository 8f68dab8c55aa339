"""Engine Deployments as processes: which commands run in the place of a plan's engine pods."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tomoul.api.engine import EngineType
from tomoul.api.meta import COMPONENT_ENGINE, LABEL_COMPONENT, LABEL_MODEL_DEPLOYMENT, LABEL_POOL, LABEL_REGION
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.gateway.compile.resources import PoolKey
from tomoul.local.models import NotLocalError, local_file
from tomoul.plan.world import Key, Manifest, World


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

    @property
    def name(self) -> str:
        """Name of the process and its log."""
        return f"{self.pool.service}-{self.replica}"

    def argv(self, port: int) -> list[str]:
        """Command line: the pod's arguments, with the address and the file overridden, since the last flag counts."""
        here = ["--host", "127.0.0.1", "--port", str(port), "--model", str(self.file)]
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
        if manifest["kind"] != "Deployment" or labels.get(LABEL_COMPONENT) != COMPONENT_ENGINE:
            continue
        key = Key(manifest["metadata"]["namespace"], labels[LABEL_MODEL_DEPLOYMENT])
        model = world.models[key]
        try:
            file = _file(model, folder)
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
            )
            commands.append(command)
    return tuple(commands), tuple(refusals)


def _file(model: ModelDeployment, folder: Path) -> Path:
    engine, source = model.spec.engine.type, model.spec.source
    if engine is not EngineType.LLAMA_CPP:
        raise NotLocalError(f"`spec.engine.type: {engine}` needs its image; only LlamaCpp runs as a process")
    if secret := next((each.name for each in model.spec.engine.env if each.secret is not None), ""):
        raise NotLocalError(f"variable `{secret}` of `spec.engine.env` is from a Secret, and there are none here")
    if source.file is None:
        raise NotLocalError("only `spec.source.file` is found here, not `hf`, `s3`, `oci` or `pvc`")
    return local_file(source.file.path, folder)
