"""Objects that tests add to the namespace of the models."""

import json
from collections.abc import Sequence
from typing import Any

from e2e.cluster import Cluster, Object
from e2e.installation import MODELS
from e2e.waiting import eventually


def apply(cluster: Cluster, *objects: Object) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.kubectl("apply", "-n", MODELS, "-f", "-", input=text)


def model(name: str, source: Object, region: Object) -> Object:
    """A tiny model `tomoul/<name>`."""
    spec: dict[str, Any] = {
        "model": {"id": f"tomoul/{name}"},
        "source": source,
        "engine": {"type": "LlamaCpp"},
        "resources": {"cpu": "100m", "memory": "256Mi"},
        "regions": [region],
        "rollout": {"drainSeconds": 5},
    }
    kind = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "ModelDeployment"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def secret(name: str, **values: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def volume(name: str, folder: str) -> list[Object]:
    """A folder of the region's node: kind has no provisioner for volumes of several pods."""
    size = {"storage": "100Mi"}
    modes = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    place = {"capacity": size, "hostPath": {"path": folder}, "claimRef": {"namespace": MODELS, "name": name}}
    claim = {"resources": {"requests": size}, "volumeName": name}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {**modes, **place}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {**modes, **claim}},
    ]


def row_of(cluster: Cluster, name: str) -> Object:
    """What a model's status says of its only region."""
    found = cluster.get("modeldeployments.tomoul.ai", "-n", MODELS, name).get("status", {}).get("regions", [{}])
    return found[0] if found else {}


def model_ready(cluster: Cluster, name: str) -> tuple[str, str]:
    """Reason and message of the condition ModelReady."""
    for entry in row_of(cluster, name).get("conditions", ()):
        if entry["type"] == "ModelReady":
            return entry["reason"], entry["message"]
    return "", ""


def until_ready(cluster: Cluster, *names: str) -> None:
    """Wait until models are Ready."""
    models = [f"modeldeployments.tomoul.ai/{name}" for name in names]
    cluster.kubectl("wait", "-n", MODELS, *models, "--for=condition=Ready", "--timeout=120s", timeout=140)


def remove(cluster: Cluster, *names: str, others: Sequence[str] = (), volume: str = "") -> None:
    """Delete models, `others` as `kind/name`, and a volume with its claim, until no pod is left: later tests count."""
    claims = [f"pvc/{volume}"] if volume else []
    models = [f"modeldeployments.tomoul.ai/{name}" for name in names]
    cluster.kubectl("delete", "-n", MODELS, "--ignore-not-found", *models, *others, *claims)
    if volume:
        cluster.kubectl("delete", "--ignore-not-found", f"pv/{volume}")
    label = f"tomoul.ai/model-deployment in ({','.join(names)})"
    eventually(lambda: cluster.list("pods", "-n", MODELS, "-l", label), lambda left: not left, seconds=60)
