"""Weights: which are downloaded, by a loader that runs in the engine's pod before it, and where they lie then."""

import hashlib
import json
from typing import Any

from tomoul.api.modeldeployment import ModelDeploymentSpec, region_target
from tomoul.api.source import OciSource, Source
from tomoul.plan.loading import LOADER
from tomoul.plan.variables import secret_variable

LOADER_PORT = 8001
"""Where it tells how far it is."""
WEIGHTS_DIR = "/weights"
"""Where the volume with downloaded weights is mounted; the engine cannot write there."""
_KEY_LENGTH = 16


def downloaded(source: Source) -> bool:
    """Whether a loader brings the weights."""
    return source.download is not None


def sources_of(spec: ModelDeploymentSpec) -> tuple[Source, ...]:
    """Where all that the engine loads comes from: the model's weights, then its adapters'."""
    return (spec.source, *(adapter.source for adapter in spec.adapters))


def weights_folder(source: Source) -> str:
    """Folder of downloaded weights on their volume: another source, revision or file has another."""
    assert downloaded(source), "weights of this source are not downloaded"
    told = source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"jurisdiction"})
    (kind, fields), *_ = told.items()
    # Whoever may read them, they are the same.
    what = {name: value for name, value in fields.items() if name not in ("token", "credentials", "plainHttp")}
    text = json.dumps({kind: what}, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]}"


def weights_path(source: Source) -> str:
    """Path of downloaded weights in the engine's container: a folder, or the one file that is asked for."""
    found = source.download
    file = found.file if found is not None else None
    return "/".join((WEIGHTS_DIR, weights_folder(source), *([file] if file else [])))


def weights_volume(spec: ModelDeploymentSpec, region: str) -> dict[str, Any]:
    """The volume that downloaded weights lie on."""
    target = region_target(spec, region)
    assert target is not None, f"the model does not name region {region}"
    if target.weights_claim is None:
        return {"name": "weights", "emptyDir": {}}
    return {"name": "weights", "persistentVolumeClaim": {"claimName": target.weights_claim}}


def loader_container(source: Source, image: str, pull_policy: str) -> dict[str, Any]:
    """The init container that downloads the weights, without its securityContext. It alone gets the credentials."""
    command, env = _command(source)
    return {
        "name": LOADER,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["tomoul", "load", *command, f"--port={LOADER_PORT}"],
        # Libraries keep small files in a home directory, and the root is read-only.
        "env": [{"name": "HOME", "value": "/tmp"}, *env],  # noqa: S108 - a volume of the pod's own
        "ports": [{"name": "progress", "containerPort": LOADER_PORT, "protocol": "TCP"}],
        "volumeMounts": [
            {"name": "weights", "mountPath": WEIGHTS_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
        # An error's words are the last line of the log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def all_download_ports(spec: ModelDeploymentSpec) -> tuple[int, ...]:
    """TCP ports that the pod's loaders connect to."""
    return tuple(sorted({port for source in sources_of(spec) for port in download_ports(source)}))


def download_ports(source: Source) -> tuple[int, ...]:
    """TCP ports that the loader connects to. A store may answer with an address of its content network, at 443."""
    found = source.download
    if found is None:
        return ()
    if isinstance(found, OciSource):
        scheme, host = "http" if found.plain_http else "https", found.reference.partition("/")[0]
    else:
        scheme, _, host = (found.endpoint or "https://").partition("://")
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    return tuple(sorted({443, int(port) if port else 443 if scheme == "https" else 80}))


def _command(source: Source) -> tuple[list[str], list[dict[str, Any]]]:
    place = [WEIGHTS_DIR, weights_folder(source)]
    if source.hf is not None:
        hf = source.hf
        args = ["hf", *place, f"--repo={hf.repo}", f"--revision={hf.revision}"]
        mirror = [{"name": "HF_ENDPOINT", "value": hf.endpoint}] if hf.endpoint else []
        env = [*mirror, *([secret_variable("HF_TOKEN", hf.token)] if hf.token else [])]
        return [*args, *([f"--file={hf.file}"] if hf.file else [])], env
    if source.oci is not None:
        oci = source.oci
        args = ["oci", *place, f"--reference={oci.reference}", *([f"--file={oci.file}"] if oci.file else [])]
        args += ["--plain-http"] if oci.plain_http else []
        return args, [secret_variable("OCI_DOCKER_CONFIG", oci.credentials)] if oci.credentials else []
    s3 = source.s3
    assert s3 is not None, "weights of this source are not downloaded"
    args = ["s3", *place, f"--bucket={s3.bucket}", f"--folder={s3.folder}", f"--region={s3.region}"]
    args += [f"--endpoint={s3.endpoint}"] if s3.endpoint else []
    args += [f"--file={s3.file}"] if s3.file else []
    keys = s3.credentials
    if keys is None:
        return args, []
    return args, [
        secret_variable("AWS_ACCESS_KEY_ID", keys.access_key_id),
        secret_variable("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
    ]
