"""Placement: what keeps every node of the cluster out of a region."""

from tomoul.api.region import Region
from tomoul.plan.world import World


def labels_missing(world: World, region: Region) -> str:
    """Which labels of the Region's placement no node has, in words; empty if some node has them all."""
    wanted = region.spec.placement.node_selector.items()
    nodes = [node.labels.items() for node in world.facts.nodes]
    if not nodes or any(wanted <= labels for labels in nodes):
        return ""
    absent = [f"`{name}={value}`" for name, value in sorted(wanted) if all((name, value) not in n for n in nodes)]
    words = " or ".join(absent) if absent else " and ".join(f"`{name}={value}`" for name, value in sorted(wanted))
    return f"no node has {words}, as the Region's `placement.nodeSelector` asks"
