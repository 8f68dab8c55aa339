"""What is kept when a test fails, since the next run may change the cluster."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from e2e.cluster import Cluster
from e2e.command import ROOT
from e2e.gateway import SYSTEM

NAMESPACES = (SYSTEM, "models")
KINDS = "tmd,regions,routingtables,deployments,pods,services,endpointslices,networkpolicies,poddisruptionbudgets"
# Envoy's admin interface is a socket that only the gateway's own pod sees.
CONFIG_DUMP = """
import http.client, socket
admin = http.client.HTTPConnection("admin")
admin.sock = socket.socket(socket.AF_UNIX)
admin.sock.connect("/run/tomoul/admin.sock")
admin.request("GET", "/config_dump?include_eds")
print(admin.getresponse().read().decode())
"""


def keep(cluster: Cluster) -> Path:
    """Write logs, events, objects and Envoy's configuration into a new folder. What cannot be had is said there."""
    folder = ROOT / ".e2e" / time.strftime("%Y-%m-%dT%H-%M-%S")
    folder.mkdir(parents=True)

    def write(name: str, read: Callable[[], str]) -> None:
        try:
            text = read()
        except Exception as error:
            text = f"could not be read: {error}\n"
        (folder / name).write_text(text)

    write("overview.txt", partial(cluster.kubectl, "get", "nodes,tmd,regions,routingtables,pods", "-A", "-o", "wide"))
    write("objects.yaml", partial(cluster.kubectl, "get", KINDS, "-A", "-o", "yaml"))
    write("nodes.txt", partial(cluster.kubectl, "describe", "nodes"))
    write("events.txt", partial(cluster.kubectl, "get", "events", "-A", "--sort-by=.lastTimestamp"))
    for namespace in NAMESPACES:
        write(f"{namespace}.describe.txt", partial(cluster.kubectl, "describe", "pods", "-n", namespace))
        try:
            pods = cluster.list("pods", "-n", namespace)
        except Exception:
            pods = []
        for pod in pods:
            name, spec = pod["metadata"]["name"], pod["spec"]
            logs = ("logs", "-n", namespace, name, "--tail=5000", "-c")
            for container in [c["name"] for c in (*spec.get("initContainers", ()), *spec["containers"])]:
                write(f"{name}.{container}.log", partial(cluster.kubectl, *logs, container))
                write(f"{name}.{container}.previous.log", partial(cluster.kubectl, *logs, container, "-p"))
            if "agent" in [c["name"] for c in spec.get("initContainers", ())]:
                dump = ("exec", "-n", namespace, name, "-c", "agent", "--", "python", "-c", CONFIG_DUMP)
                write(f"{name}.config_dump.json", partial(cluster.kubectl, *dump))
    for useless in folder.glob("*.previous.log"):
        if useless.read_text().startswith("could not be read"):
            useless.unlink()
    return folder
