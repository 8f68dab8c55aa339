"""CPUs: whether nodes that run a region's pods without GPUs have CPUs of one model, as far as their labels tell."""

from collections.abc import Iterable, Mapping

from tomoul.api.conditions import Reason
from tomoul.api.region import Region
from tomoul.plan.engines.base import Obstacle
from tomoul.plan.pods import tolerations
from tomoul.plan.room import tolerates
from tomoul.plan.world import NodeFact

# The kubelet's, and those of https://kubernetes-sigs.github.io/node-feature-discovery/stable/usage/features.html#cpu
_NFD = "feature.node.kubernetes.io/cpu-model"
_LABELS = ("kubernetes.io/arch", f"{_NFD}.vendor_id", f"{_NFD}.family", f"{_NFD}.id")
_STATE = "node.kubernetes.io/"
"""Taints that begin so come and go with a node's state, while pods that are there may go on answering."""


def cpus_for(region: Region, node: NodeFact) -> Mapping[str, str]:
    """What labels tell of a node's CPUs; nothing where the region's pods without GPUs may not run."""
    placement = region.spec.placement
    lasting = [taint for taint in node.taints if not taint.key.startswith(_STATE)]
    if not placement.node_selector.items() <= node.labels.items():
        return {}
    if not tolerates(tolerations(placement.tolerations), lasting):
        return {}
    return {label: node.labels[label] for label in _LABELS if label in node.labels}


def cpu_obstacle(nodes: Iterable[NodeFact], region: Region) -> Obstacle | None:
    """The label by which the region's nodes have different CPUs, or None where none shows it."""
    found = [cpus_for(region, node) for node in nodes]
    for label in _LABELS:
        if len(values := sorted({told[label] for told in found if label in told})) > 1:
            message = (
                f"nodes of Region `{region.metadata.name}` have CPUs that may sum up differently: `{label}` is "
                f"{', '.join(values[:-1])} and {values[-1]}; choose one in its `placement.nodeSelector`"
            )
            return Obstacle(Reason.CPU_NOT_SINGLE, message)
    return None
