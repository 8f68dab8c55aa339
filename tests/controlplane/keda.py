"""KEDA's kind, as far as this project writes it: the API server refuses fields that KEDA has not."""

from typing import Any

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaledobjects.keda.sh"


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_STRING = {"type": "string"}
_NUMBER = {"type": "integer", "format": "int32"}
_TRIGGER = _object(
    ("type", "metadata"),
    type=_STRING,
    metricType=_STRING,
    metadata={"type": "object", "additionalProperties": _STRING},
)
_SPEC = _object(
    ("scaleTargetRef", "triggers"),
    scaleTargetRef=_object(("name",), apiVersion=_STRING, kind=_STRING, name=_STRING),
    minReplicaCount=_NUMBER,
    maxReplicaCount=_NUMBER,
    pollingInterval=_NUMBER,
    cooldownPeriod=_NUMBER,
    advanced=_object(
        horizontalPodAutoscalerConfig=_object(behavior=_object(scaleDown=_object(stabilizationWindowSeconds=_NUMBER)))
    ),
    triggers={"type": "array", "items": _TRIGGER},
)
_CONDITION = _object(("type", "status"), type=_STRING, status=_STRING, reason=_STRING, message=_STRING)
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {"plural": "scaledobjects", "singular": "scaledobject", "kind": "ScaledObject"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": _object(
                        ("spec",), spec=_SPEC, status=_object(conditions={"type": "array", "items": _CONDITION})
                    )
                },
            }
        ],
    },
}
