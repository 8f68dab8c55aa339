"""LeaderWorkerSet's kind, as far as this project writes and reads it, and a player of its controller's part."""

from typing import Any

from tests.controlplane.api import Api, Object

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/leaderworkersets.leaderworkerset.x-k8s.io"
SETS = "/apis/leaderworkerset.x-k8s.io/v1"
PREFIX = "leaderworkerset.sigs.k8s.io"


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_STRING = {"type": "string"}
_NUMBER = {"type": "integer", "format": "int32"}
_STRINGS = {"type": "object", "additionalProperties": _STRING}
_NAMED = {
    "type": "array",
    "items": {**_object(("name",), name=_STRING), "x-kubernetes-preserve-unknown-fields": True},
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}
_POD = _object(
    metadata=_object(labels=_STRINGS, annotations=_STRINGS),
    spec={
        **_object(("containers",), containers=_NAMED, initContainers=_NAMED, volumes=_NAMED),
        "x-kubernetes-preserve-unknown-fields": True,
    },
)
_LIMIT = {"x-kubernetes-int-or-string": True}
_POLICIES = ["Default", "RecreateGroupOnPodRestart", "None"]
"""Those of all versions."""
_SPEC = _object(
    ("leaderWorkerTemplate",),
    replicas={**_NUMBER, "default": 1, "minimum": 0},
    leaderWorkerTemplate=_object(
        ("workerTemplate",),
        size={**_NUMBER, "default": 1},
        restartPolicy={**_STRING, "default": "RecreateGroupOnPodRestart", "enum": _POLICIES},
        leaderTemplate=_POD,
        workerTemplate=_POD,
    ),
    rolloutStrategy=_object(
        ("type",),
        type={**_STRING, "enum": ["RollingUpdate"]},
        rollingUpdateConfiguration=_object(partition={**_NUMBER, "default": 0}, maxSurge=_LIMIT, maxUnavailable=_LIMIT),
    ),
    startupPolicy={**_STRING, "enum": ["LeaderCreated", "LeaderReady"]},
    networkConfig=_object(("subdomainPolicy",), subdomainPolicy={**_STRING, "enum": ["Shared", "UniquePerReplica"]}),
)
_STATUS = _object(
    readyReplicas=_NUMBER,
    updatedReplicas=_NUMBER,
    replicas=_NUMBER,
    hpaPodSelector=_STRING,
    observedGeneration={"type": "integer", "format": "int64"},
)
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "leaderworkersets.leaderworkerset.x-k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
    },
    "spec": {
        "group": "leaderworkerset.x-k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "leaderworkersets", "singular": "leaderworkerset", "kind": "LeaderWorkerSet"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.hpaPodSelector",
                    },
                },
                "schema": {"openAPIV3Schema": _object(("spec",), spec=_SPEC, status=_STATUS)},
            }
        ],
    },
}


def path(name: str, namespace: str) -> str:
    """URL path of a LeaderWorkerSet."""
    return f"{SETS}/namespaces/{namespace}/leaderworkersets/{name}"


def make_group(api: Api, found: Object, group: int = 0) -> list[str]:
    """The pods of one group, as the controller and its webhook make them; their names, the leader's first."""
    meta, spec = found["metadata"], found["spec"]["leaderWorkerTemplate"]
    leader = f"{meta['name']}-{group}"
    names = [leader, *(f"{leader}-{index}" for index in range(1, spec["size"]))]
    for index, name in enumerate(names):
        template = spec["workerTemplate" if index else "leaderTemplate"]
        labels = {
            f"{PREFIX}/name": meta["name"], f"{PREFIX}/group-index": str(group), f"{PREFIX}/worker-index": str(index),
        }  # fmt: skip
        told = {
            "LWS_LEADER_ADDRESS": f"{leader}.{meta['name']}.{meta['namespace']}",
            "LWS_WORKER_INDEX": str(index),
        }
        pod = template["spec"]
        containers = [
            {**each, "env": [{"name": key, "value": value} for key, value in told.items()] + each.get("env", [])}
            for each in pod["containers"]
        ]
        owner = {
            "apiVersion": found["apiVersion"], "kind": found["kind"], "name": meta["name"], "uid": meta["uid"],
        }  # fmt: skip
        api.create(
            f"/api/v1/namespaces/{meta['namespace']}/pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "labels": {**template["metadata"]["labels"], **labels},
                    "annotations": template["metadata"].get("annotations", {}),
                    "ownerReferences": [owner],
                },
                "spec": {**pod, "containers": containers, "hostname": name, "subdomain": meta["name"]},
            },
        )
    return names


def tell(api: Api, found: Object, *, ready: int, updated: int | None = None) -> None:
    """The status of a LeaderWorkerSet with so many groups that are ready, and as many that are of its template."""
    meta, replicas = found["metadata"], found["spec"]["replicas"]
    status = {
        "replicas": replicas,
        "readyReplicas": ready,
        "updatedReplicas": replicas if updated is None else updated,
        "observedGeneration": meta["generation"],
        "hpaPodSelector": f"{PREFIX}/name={meta['name']},{PREFIX}/worker-index=0",
    }
    identity = {"name": meta["name"], "namespace": meta["namespace"]}
    body = {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": identity, "status": status}
    api.apply(f"{path(meta['name'], meta['namespace'])}/status", body, "lws")
