"""Room: whether one more pod would fit on a node, by what nodes offer and what the known pods on them request.

Pods that are not Tomoul's are not known, so that only the scheduler has the last word: see `plan/strategy.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tomoul.plan.podfact import PodFact
from tomoul.plan.quantity import amounts
from tomoul.plan.world import Facts, Manifest, NodeFact, Taint

_REPELS = frozenset({"NoSchedule", "NoExecute"})


class Room(NamedTuple):
    """Whether it fits, and where or why not."""

    fits: bool
    words: str


def room_for(facts: Facts, template: Manifest, pods: int = 1, leaving: Sequence[PodFact] = ()) -> Room:
    """Whether `pods` more pods of a template (only those of its fields that plan/pods.py sets) fit at once.

    What the pods `leaving` hold is theirs.
    """
    spec = template["spec"]
    wanted: dict[str, int] = {}
    for container in spec["containers"]:
        for name, count in amounts(container.get("resources", {}).get("requests", {})).items():
            wanted[name] = wanted.get(name, 0) + count
    nodes = [node for node in facts.nodes if _admits(node, spec)]
    if not nodes:
        return Room(False, "no ready node of the region admits it")
    used = _used(facts, leaving)
    free = {node.name: _free(node, used.get(node.name, {})) for node in nodes}
    names: list[str] = []
    for name, left in sorted(free.items()):
        while len(names) < pods and all(left.get(resource, 0) >= count for resource, count in wanted.items()):
            names.append(name)
            for resource, count in wanted.items():
                left[resource] -= count
    if names and len(names) < pods:
        return Room(False, f"nodes have room for {len(names)} of the {pods} that would surge at once")
    if not names:
        most = _most(wanted, [_free(node, used.get(node.name, {})) for node in nodes])
        return Room(False, f"no node has room for {'it' if pods == 1 else f'{pods} at once'}: {most}")
    return Room(True, f"node `{names[0]}` has room for it" if pods == 1 else f"{pods} fit at once")


def tolerates(tolerations: Iterable[Mapping[str, Any]], taints: Iterable[Taint]) -> bool:
    """Whether a pod with such tolerations may be put on a node with such taints."""
    entries = list(tolerations)
    return all(any(_tolerates(entry, taint) for entry in entries) for taint in taints if taint.effect in _REPELS)


def _admits(node: NodeFact, spec: Mapping[str, Any]) -> bool:
    if not node.ready or not spec.get("nodeSelector", {}).items() <= node.labels.items():
        return False
    return tolerates(spec.get("tolerations", ()), node.taints)


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect) or toleration.get("key") not in (None, "", taint.key):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == taint.value


def _used(facts: Facts, leaving: Sequence[PodFact]) -> Mapping[str, Mapping[str, int]]:
    """What pods request, by node; those on their way out still hold it."""
    used: dict[str, dict[str, int]] = {}
    for pod in (pod for pods in facts.pods.values() for pod in pods):
        if pod.node and not pod.ended:
            on_node = used.setdefault(pod.node, {})
            for name, count in pod.requests.items():
                on_node[name] = on_node.get(name, 0) + count
    for pod in leaving:
        for name, count in pod.requests.items() if pod.node else ():
            used[pod.node][name] -= count
    return used


def _free(node: NodeFact, used: Mapping[str, int]) -> dict[str, int]:
    return {name: count - used.get(name, 0) for name, count in node.allocatable.items()}


def _most(wanted: Mapping[str, int], free: Iterable[Mapping[str, int]]) -> str:
    """What is wanted beside the most that one node has free of it: those first that are short everywhere."""
    nodes = list(free)
    best = {name: max(max(left.get(name, 0) for left in nodes), 0) for name in wanted}
    short = [name for name in wanted if best[name] < wanted[name]]
    apart = "" if short else "none has all at once, the most that one has are "
    return apart + ", ".join(
        f"{_shown(name, best[name])} free of {_shown(name, wanted[name])} `{name}`" for name in short or wanted
    )


def _shown(name: str, count: int) -> str:
    if name == "cpu":
        return f"{count}m"
    return f"{count // 2**20}Mi" if name == "memory" else str(count)
