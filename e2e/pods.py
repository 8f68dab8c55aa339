"""Pods of engines and gateways, and what their statuses say."""

from collections.abc import Sequence

from e2e.cluster import Cluster, Object
from e2e.gateway import SYSTEM
from e2e.installation import MODELS

ENGINES = "app.kubernetes.io/component=engine"


METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics').read().decode())"


def metrics_of(cluster: Cluster, pod: Object) -> dict[str, int]:
    """What an engine counts, by the names of its metrics."""
    name = pod["metadata"]["name"]
    text = cluster.kubectl("exec", "-n", MODELS, name, "--", "/opt/engine/bin/python", "-c", METRICS)
    lines = [line.split() for line in text.splitlines() if line.startswith("llamacpp:")]
    return {key: int(float(value)) for key, value in lines}


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
