"""Gateway: the objects that run a region's gateways, each pod an Envoy with the agent beside it."""

import json
from typing import Any

from tomoul.api.region import Region
from tomoul.plan.envoy_bootstrap import MODULES_PATH, envoy_bootstrap
from tomoul.plan.gateway_overlay import ContainerResources
from tomoul.plan.gateway_placement import gateway_placement
from tomoul.plan.labels import gateway_labels, gateway_selector, object_meta
from tomoul.plan.listening import ALL
from tomoul.plan.naming import gateway_name
from tomoul.plan.network import gateway_policy
from tomoul.plan.pods import TERMINATION_MESSAGE_POLICY, container_security, literal, pod_security
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest

HTTP_PORT = 8080
METRICS_PORT = 9090
AGENT_PORT = 9091
SERVICE_PORT = 80
SALT_SECRET = "tomoul-cache-salt"  # noqa: S105 - its name
SALT_KEY = "key"
DRAIN_PORT = 9092
"""Not open to the network: the kubelet of the pod's own node is let through by network policies."""
DRAIN_TOKEN_HEADER = "X-Tomoul-Drain-Token"  # noqa: S105 - its name
"""By which the hook shows that it is the pod's own: other pods reach the port where nothing enforces policies."""
DRAIN_SECONDS = 600
"""How long a gateway pod that is deleted waits for its calls to end: as long as a call may take by default."""
_GRACE_SECONDS = 15
_RUN_DIR = "/run/tomoul"
_SALT_DIR = "/etc/tomoul/salt"
_ADS_SOCKET = f"{_RUN_DIR}/ads.sock"
_ADMIN_SOCKET = f"{_RUN_DIR}/admin.sock"
_MODULE_DIR = f"{_RUN_DIR}/modules"
_TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path


def gateway(region: Region, settings: Settings) -> tuple[Manifest, ...]:
    """Deployment, Service, PodDisruptionBudget and NetworkPolicy of a region's gateways."""
    name = gateway_name(region.metadata.name)
    overlay = settings.gateway_overlay
    labels = dict(overlay.labels) | gateway_labels(region.metadata.name)
    selector = gateway_selector(region.metadata.name)
    meta = object_meta(name, labels, region, settings.namespace)
    annotations = {"annotations": dict(overlay.service.annotations)} if overlay.service.annotations else {}
    return (
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": _deployment(region, settings)},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta | annotations,
            "spec": {
                **overlay.service.spec(),
                "type": settings.gateway_service_type,
                "selector": selector,
                "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": meta,
            "spec": {
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": selector},
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": meta,
            "spec": gateway_policy(
                selector,
                settings,
                open_port=HTTP_PORT,
                counts_port=METRICS_PORT,
                metrics_ports=(METRICS_PORT, AGENT_PORT),
            ),
        },
    )


def _deployment(region: Region, settings: Settings) -> dict[str, Any]:
    selector = gateway_selector(region.metadata.name)
    overlay = settings.gateway_overlay
    labels = {**overlay.labels, **overlay.pods.labels, **gateway_labels(region.metadata.name)}
    annotations = {"annotations": dict(overlay.pods.annotations)} if overlay.pods.annotations else {}
    return {
        "replicas": settings.gateway_replicas,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {"labels": labels, **annotations},
            "spec": _pod(region, settings),
        },
    }


def _pod(region: Region, settings: Settings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "serviceAccountName": settings.gateway_service_account,
        # Only the agent gets the token, by a volume: Envoy, which faces the network, has no business with the API.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + _GRACE_SECONDS,
        "securityContext": pod_security(),
        # A sidecar: it starts before Envoy and ends after it.
        "initContainers": [_agent(region, settings) | {"restartPolicy": "Always"}],
        "containers": [_envoy(region, settings)],
        "volumes": [
            {"name": "run", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "salt", "secret": {"secretName": SALT_SECRET, "defaultMode": 0o440}},
            {"name": "api-access", "projected": {"defaultMode": 0o440, "sources": _api_access()}},
        ],
        **gateway_placement(region, settings.gateway_overlay.pods, gateway_selector(region.metadata.name)),
    }
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return pod


def _agent(region: Region, settings: Settings) -> dict[str, Any]:
    flags = {
        "--region": region.metadata.name,
        "--socket": _ADS_SOCKET,
        "--snapshot-dir": f"{_RUN_DIR}/snapshot",
        "--salt-key-file": f"{_SALT_DIR}/{SALT_KEY}",
        "--module-dir": _MODULE_DIR,
        "--listen-address": _listen_address(settings),
        "--listen-port": str(HTTP_PORT),
        "--max-body-bytes": str(settings.gateway_max_body_bytes),
        "--max-held-bytes": str(settings.gateway_overlay.resources.max_held_bytes),
        "--stream-comment-seconds": str(settings.gateway_comment_seconds),
        "--health-port": str(AGENT_PORT),
        "--admin-socket": _ADMIN_SOCKET,
        "--drain-port": str(DRAIN_PORT),
        "--drain-seconds": str(DRAIN_SECONDS),
        **({"--drain-token": _drain_token(region)} if _drain_token(region) else {}),
    }
    return {
        "name": "agent",
        "image": settings.operator_image,
        "imagePullPolicy": settings.image_pull_policy,
        "terminationMessagePolicy": TERMINATION_MESSAGE_POLICY,
        "args": ["agent", *(word for flag in flags.items() for word in flag)],
        "env": [_downward("POD_NAME", "metadata.name")],
        "ports": [
            {"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"},
            {"name": "drain", "containerPort": DRAIN_PORT, "protocol": "TCP"},
        ],
        # Envoy starts once this has passed, and so finds the socket at its first try, and its module.
        "startupProbe": {
            "httpGet": {"path": "/healthz", "port": "agent"},
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "agent"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": _resources(settings.gateway_overlay.resources.agent),
        "securityContext": container_security(read_only_root=True),
        "volumeMounts": [
            {"name": "run", "mountPath": _RUN_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            {"name": "salt", "mountPath": _SALT_DIR, "readOnly": True},
            {"name": "api-access", "mountPath": _TOKEN_DIR, "readOnly": True},
        ],
    }


def _envoy(region: Region, settings: Settings) -> dict[str, Any]:
    resources = settings.gateway_overlay.resources
    bootstrap = envoy_bootstrap(
        ads_socket=_ADS_SOCKET,
        admin_socket=_ADMIN_SOCKET,
        metrics_port=METRICS_PORT,
        listen_address=_listen_address(settings),
        max_heap_bytes=resources.max_heap_bytes,
    )
    flags = {
        "--config-yaml": literal(json.dumps(bootstrap, sort_keys=True, separators=(",", ":"))),
        "--service-node": "$(POD_NAME)",
        "--service-cluster": region.metadata.name,
        "--concurrency": "2",
        "--log-level": "warning",
    }
    return {
        "name": "envoy",
        "image": settings.envoy_image,
        "imagePullPolicy": settings.image_pull_policy,
        "terminationMessagePolicy": TERMINATION_MESSAGE_POLICY,
        "command": ["envoy"],
        # Hot restart needs shared memory and a second Envoy in the same container; the pod is replaced instead.
        "args": [*(word for flag in flags.items() for word in flag), "--disable-hot-restart"],
        "env": [
            _downward("POD_NAME", "metadata.name"),
            {"name": MODULES_PATH, "value": _MODULE_DIR},
        ],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(resources.envoy),
        "readinessProbe": {
            "httpGet": {"path": "/-/ready", "port": "http"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        # The agent answers once calls have ended. A named port would be looked for in this container.
        "lifecycle": {"preStop": {"httpGet": {"path": "/drain", "port": DRAIN_PORT, **_drain_headers(region)}}},
        "securityContext": container_security(read_only_root=True),
        "volumeMounts": [
            {"name": "run", "mountPath": _RUN_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _drain_token(region: Region) -> str:
    """What only who may read the pod knows: random, and the same in each plan. Offline plans know none."""
    return region.metadata.uid


def _drain_headers(region: Region) -> dict[str, Any]:
    token = _drain_token(region)
    return {"httpHeaders": [{"name": DRAIN_TOKEN_HEADER, "value": token}]} if token else {}


def _listen_address(settings: Settings) -> str:
    return ALL if settings.gateway_overlay.service.both_families else settings.listen_address


def _resources(asked: ContainerResources) -> dict[str, Any]:
    return {kind: dict(amounts) for kind, amounts in asked if amounts}


def _api_access() -> list[dict[str, Any]]:
    """What Kubernetes' own automounted volume holds."""
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]


def _downward(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
