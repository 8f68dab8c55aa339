"""Groups of pods for tests: what LeaderWorkerSet, the kubelet and a plan make of a replica on several nodes."""

from typing import Any

from tests.plan.specs import KEY, model, region
from tomoul.plan.groups import pool_template
from tomoul.plan.settings import Settings


def group_lines(nodes: int = 2, leader: str = "chat-0.chat.models", **fields: Any) -> list[list[str]]:
    """Arguments of each pod of a group, the leader's first, as its container gets them."""
    deployment = model(KEY, **fields)
    template = pool_template(deployment, region(), "default", Settings())
    assert template["size"] == nodes
    found = []
    for index in range(nodes):
        pod = template["leaderTemplate" if index == 0 else "workerTemplate"]
        told = {"$(LWS_LEADER_ADDRESS)": leader, "$(LWS_WORKER_INDEX)": str(index)}
        args = pod["spec"]["containers"][0]["args"]
        for name, value in told.items():
            args = [arg.replace(name, value) for arg in args]
        found.append(args)
    return found
