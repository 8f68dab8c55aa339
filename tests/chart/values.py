"""Values of the chart, all of them: `OTHER` has another one than `values.yaml` for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.chart.helm import CHART

Tree = Mapping[str, Any]

KUBERNETES_OWN = (
    "resources", "labels", "annotations", "commonLabels", "podLabels", "podAnnotations", "nodeSelector", "affinity",
)  # fmt: skip
"""Values that are maps of Kubernetes' own."""

PLACED: Tree = {
    "podLabels": {"sidecar.istio.io/inject": "false"},
    "podAnnotations": {"example.com/note": 'what is not $(POD_NAME), "quoted" or <b>'},
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "pool", "operator": "Equal", "value": "system", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}]
            }
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname"}]
        },
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "system-cluster-critical",
}
_RESOURCES: Tree = {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "1500m", "memory": "2Gi"}}
OTHER: Tree = {
    "image": {
        "repository": "registry.example.com/operator",
        "tag": "v7",
        "digest": "sha256:" + "7d1a" * 16,
        "pullPolicy": "Always",
    },
    "imagePullSecrets": ["registry"],
    "commonLabels": {"team": "inference"},
    "operator": {
        **PLACED,
        "replicas": 3,
        "resources": _RESOURCES,
        "env": [
            {"name": "TZ", "value": "Europe/Zurich"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "logFormat": "text",
        "workers": 8,
    },
    "envoy": {"image": "registry.example.com/envoy:v2"},
    "engines": {
        "llamaCpp": {"image": "registry.example.com/cpu-engine:v7"},
        "egress": "Open",
        "priorityClassName": "high",
        "registry": "registry.example.com/mirror",
    },
    "metrics": {
        "scrapeNamespaces": ["monitoring"],
        "monitors": {"enabled": True, "labels": {"release": "prometheus"}},
        "alerts": {"enabled": True, "labels": {"release": "prometheus"}, "runbookUrl": "https://wiki.example.com/a"},
        "dashboards": {"enabled": True, "labels": {"grafana": "yes"}, "annotations": {"grafana_folder": "Tomoul"}},
    },
    "gateway": {
        **PLACED,
        "replicas": 3,
        "serviceType": "LoadBalancer",
        "service": {
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"},
            "loadBalancerClass": "example.com/internal",
            "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"],
            "externalTrafficPolicy": "Local",
            "ipFamilyPolicy": "PreferDualStack",
        },
        "resources": {"envoy": {**_RESOURCES, "limits": {"cpu": "1500m", "memory": "3Gi"}}, "agent": _RESOURCES},
        "auth": "None",
        "maxBodyBytes": 33554432,
        "commentSeconds": 0,
        "routesPerTable": 0,
    },
    "scaling": {"externalMetrics": True, "kedaNamespace": "autoscaling", "sampleSeconds": 2, "refusedSeconds": 120},
    "hostRegions": ["eu-west", "us-east"],
    "propagate": {"labels": ["team"], "annotations": ["example.com/owner"]},
    "workloadNamespaces": ["values-models", "4711"],
    "rbac": {"aggregateToView": False, "aggregateToEdit": True},
    "admission": {"jurisdictions": False, "allowedImages": ["registry.example.com/models"]},
    "resyncSeconds": 60,
    "crds": {"install": False},
}


def default_values() -> Tree:
    """What `values.yaml` says."""
    found: Tree = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def leaves(values: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value under its name as `--set` takes it."""
    for name, value in values.items():
        if isinstance(value, dict) and name not in KUBERNETES_OWN:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
