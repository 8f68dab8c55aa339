"""Pods of engines, in the shape that Pod Security `restricted` admits."""

from collections.abc import Mapping
from typing import Any

from tomoul.api.meta import LABEL_PROMPT_CACHE
from tomoul.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from tomoul.api.region import Region, Toleration
from tomoul.api.routingtable import PoolName
from tomoul.plan.acceptance import accelerator_of
from tomoul.plan.adapters import adapters_annotation
from tomoul.plan.draining import WITHDRAWAL_SECONDS, drain_command
from tomoul.plan.engines.base import ADAPTERS_DIR, CACHE_DIR, MODELS_DIR, PORT, EngineContainer
from tomoul.plan.engines.registry import engine_image, engine_of
from tomoul.plan.firstcall import first_call
from tomoul.plan.labels import engine_labels
from tomoul.plan.listening import ALL_IPV4
from tomoul.plan.loading import ADAPTER_LOADER, LOADER
from tomoul.plan.naming import workload_name
from tomoul.plan.propagate import propagated
from tomoul.plan.seeds import deterministic, product_selector
from tomoul.plan.settings import Settings
from tomoul.plan.variables import secret_variable
from tomoul.plan.weights import WEIGHTS_DIR, downloaded, loader_container, sources_of, weights_volume

NON_ROOT_UID = 65532
GRACE_AFTER_DRAIN_SECONDS = 10
LOAD_SECONDS = 3600
"""How long an engine may take to load its model before it is restarted."""
TERMINATION_MESSAGE_POLICY = "FallbackToLogsOnError"
"""Puts the end of a failed container's log into its pod's status, which saves asking the node for it."""
_PROBE_SECONDS = 5


def engine_pod(model: ModelDeployment, region: Region, pool: PoolName, settings: Settings) -> dict[str, Any]:
    """The template of a pool's pods; `plan/groups.py` makes leaders and workers of it."""
    spec = model.spec
    name = model.metadata.name
    repeats = deterministic(spec, region, settings)
    engine = engine_of(spec).container(spec, pool, deterministic=repeats)
    volumes, mounts = _volumes(spec, region, engine)
    container: dict[str, Any] = {
        "name": "engine",
        "image": engine_image(spec, settings),
        "imagePullPolicy": settings.image_pull_policy,
        "args": [settings.listen_address if arg == ALL_IPV4 else literal(arg) for arg in engine.args],
        "env": _environment(spec, engine),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(spec, region),
        "volumeMounts": mounts,
        "startupProbe": {
            **_first_answer(spec, engine, settings),
            "periodSeconds": _PROBE_SECONDS,
            # While the model loads, the call is refused at once; the first one of a big model may then take a while.
            "timeoutSeconds": 30,
            "failureThreshold": LOAD_SECONDS // _PROBE_SECONDS,
        },
        "readinessProbe": _health(engine, timeout=5, failures=3),
        # Busy engines answer late: only one that stays silent for a minute is restarted.
        "livenessProbe": _health(engine, timeout=10, failures=12),
        "terminationMessagePolicy": TERMINATION_MESSAGE_POLICY,
        # Meanwhile its endpoint is withdrawn and its calls end; only then is it told to stop.
        "lifecycle": {"preStop": _drain(spec, engine)},
        "securityContext": container_security(read_only_root=engine.read_only_root),
    }
    if engine.command:
        container["command"] = [literal(part) for part in engine.command]
    pod: dict[str, Any] = {
        "serviceAccountName": workload_name(name, region.metadata.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": WITHDRAWAL_SECONDS + spec.rollout.drain_seconds + GRACE_AFTER_DRAIN_SECONDS,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": volumes,
    }
    if loaders := _loaders(spec, settings, _resources_of_a_loader(spec, region)):
        pod["initContainers"] = loaders
    pod |= _placement(spec, region, settings, one_product=repeats or spec.resources.nodes > 1)
    labels = engine_labels(name, region.metadata.name, pool)
    labels[LABEL_PROMPT_CACHE] = engine_of(spec).prompt_cache(spec, pool)
    annotations = adapters_annotation(spec)
    metadata = {"labels": labels, **({"annotations": annotations} if annotations else {})}
    return propagated({"metadata": metadata, "spec": pod}, model, settings)


def _loaders(spec: ModelDeploymentSpec, settings: Settings, resources: dict[str, Any]) -> list[dict[str, Any]]:
    """Init containers that bring the weights, one after the other: the model's, then those of its adapters."""
    sources = {LOADER: spec.source} | {
        f"{ADAPTER_LOADER}{index}": adapter.source for index, adapter in enumerate(spec.adapters)
    }
    found = []
    for name, source in sources.items():
        if downloaded(source):
            loader = loader_container(source, settings.operator_image, settings.image_pull_policy)
            command = [literal(arg) for arg in loader["command"]]
            security = container_security(read_only_root=True)
            asked = {"resources": resources} if resources else {}
            found.append({**loader, **asked, "name": name, "command": command, "securityContext": security})
    return found


def pod_security() -> dict[str, Any]:
    """A pod's securityContext that `restricted` admits."""
    return {
        "runAsNonRoot": True,
        "runAsUser": NON_ROOT_UID,
        "runAsGroup": NON_ROOT_UID,
        "fsGroup": NON_ROOT_UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(*, read_only_root: bool) -> dict[str, Any]:
    """A container's securityContext that `restricted` admits."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only_root,
    }


def tolerations(entries: tuple[Toleration, ...]) -> list[dict[str, Any]]:
    """Tolerations as a pod has them."""
    return [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in entries]


def literal(text: str) -> str:
    """An argument or variable that Kubernetes passes on as it is, where it would replace `$(NAME)`."""
    return text.replace("$(", "$$(")


def _placement(spec: ModelDeploymentSpec, region: Region, settings: Settings, *, one_product: bool) -> dict[str, Any]:
    accelerator = accelerator_of(spec, region)
    selector = dict(region.spec.placement.node_selector) | dict(accelerator.node_selector if accelerator else {})
    if accelerator is not None and one_product:
        selector |= product_selector(accelerator, region) or {}
    found: dict[str, Any] = {}
    if selector:
        found["nodeSelector"] = selector
    if accelerator is not None and accelerator.runtime_class_name is not None:
        found["runtimeClassName"] = accelerator.runtime_class_name
    if settings.engine_priority_class:
        found["priorityClassName"] = settings.engine_priority_class
    tolerated = (*region.spec.placement.tolerations, *(accelerator.tolerations if accelerator else ()))
    if tolerated:
        found["tolerations"] = tolerations(tolerated)
    return found


def _resources(spec: ModelDeploymentSpec, region: Region) -> dict[str, Any]:
    asked = spec.resources
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if asked.cpu is not None:
        requests["cpu"] = asked.cpu
    if asked.memory is not None:
        requests["memory"] = limits["memory"] = asked.memory
    accelerator = accelerator_of(spec, region)
    if accelerator is not None:
        requests[accelerator.resource] = limits[accelerator.resource] = str(asked.count)
    return {name: values for name, values in (("requests", requests), ("limits", limits)) if values}


def _resources_of_a_loader(spec: ModelDeploymentSpec, region: Region) -> dict[str, Any]:
    """What the engine has but GPUs. They run one after the other, so the pod asks for no more than without it.

    A ResourceQuota refuses pods of which one container says nothing, and without a limit a loader could fill the node.
    """
    accelerator = accelerator_of(spec, region)
    left_out = accelerator.resource if accelerator is not None else ""
    kept = {
        kind: {name: amount for name, amount in amounts.items() if name != left_out}
        for kind, amounts in _resources(spec, region).items()
    }
    return {kind: amounts for kind, amounts in kept.items() if amounts}


def _environment(spec: ModelDeploymentSpec, engine: EngineContainer) -> list[dict[str, Any]]:
    # The images' own home belongs to root, and their libraries ask for the name of a user that /etc/passwd lacks.
    plain: Mapping[str, str] = {"HOME": CACHE_DIR, "USER": "tomoul", "HF_HOME": f"{CACHE_DIR}/huggingface"}
    env: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in (dict(plain) | dict(engine.env)).items()
    ]
    if any(downloaded(source) for source in sources_of(spec)):
        # All that it needs is there: it must not look whether the hub has something newer.
        env.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    for variable in spec.engine.env:
        if variable.secret is not None:
            env.append(secret_variable(variable.name, variable.secret))
        else:
            env.append({"name": variable.name, "value": literal(variable.value or "")})
    return env


def _volumes(
    spec: ModelDeploymentSpec, region: Region, engine: EngineContainer
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = [{"name": "cache", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [
        {"name": "cache", "mountPath": CACHE_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
    ]
    if spec.source.pvc is not None:
        claim = {"claimName": spec.source.pvc.claim_name, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
        mounts.append({"name": "models", "mountPath": MODELS_DIR, "readOnly": True})
    claims = sorted({each.source.pvc.claim_name for each in spec.adapters if each.source.pvc is not None})
    for index, name in enumerate(claims):
        volumes.append({"name": f"adapters-{index}", "persistentVolumeClaim": {"claimName": name, "readOnly": True}})
        mounts.append({"name": f"adapters-{index}", "mountPath": f"{ADAPTERS_DIR}/{name}", "readOnly": True})
    if any(downloaded(source) for source in sources_of(spec)):
        volumes.append(weights_volume(spec, region.metadata.name))
        mounts.append({"name": "weights", "mountPath": WEIGHTS_DIR, "readOnly": True})
    if engine.shared_memory:
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108
    return volumes, mounts


def _first_answer(spec: ModelDeploymentSpec, engine: EngineContainer, settings: Settings) -> dict[str, Any]:
    if not engine.bash:
        return _health_call(engine)
    return {"exec": {"command": first_call(spec.model.id, listen_address=settings.listen_address)}}


def _drain(spec: ModelDeploymentSpec, engine: EngineContainer) -> dict[str, Any]:
    if engine.bash:
        return {"exec": {"command": drain_command(spec.rollout.drain_seconds)}}
    # Nobody in the container can look whether its calls have ended, and a hook that fails would cut them.
    return {"sleep": {"seconds": WITHDRAWAL_SECONDS + spec.rollout.drain_seconds}}


def _health_call(engine: EngineContainer) -> dict[str, Any]:
    return {"httpGet": {"path": engine.health_path, "port": "http"}}


def _health(engine: EngineContainer, *, timeout: int, failures: int) -> dict[str, Any]:
    return {
        **_health_call(engine),
        "periodSeconds": _PROBE_SECONDS,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
