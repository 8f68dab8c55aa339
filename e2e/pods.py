"""Pods of engines and gateways, and what their statuses say."""

from collections.abc import Sequence

from e2e.cluster import Cluster, Object
from e2e.gateway import SYSTEM
from e2e.installation import MODELS

ENGINES = "app.kubernetes.io/component=engine"


def living(pods: Sequence[Object]) -> list[Object]:
    """Those that are not on their way out."""
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def engine_pods(cluster: Cluster, selector: str = "") -> list[Object]:
    pods = cluster.list("pods", "-n", MODELS, "-l", ",".join(filter(None, (ENGINES, selector))))
    return living(pods)


def gateway_pods(cluster: Cluster) -> list[Object]:
    pods = cluster.list("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=gateway")
    return living(pods)


def region_of(pod: Object) -> str:
    region: str = pod["metadata"]["labels"]["tomoul.ai/region"]
    return region


def conditions(status: Object) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in status.get("conditions", ())}


def ready_names(cluster: Cluster, selector: str) -> set[str]:
    pods = engine_pods(cluster, selector)
    return {pod["metadata"]["name"] for pod in pods if conditions(pod["status"]).get("Ready") == "True"}
