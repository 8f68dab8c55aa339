"""Gateway placement: on which nodes the gateways of a region run, and how they are spread over them."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from tomoul.api.region import Region
from tomoul.plan.gateway_overlay import GatewayPods
from tomoul.plan.pods import tolerations


def gateway_placement(region: Region, overlay: GatewayPods, selector: Mapping[str, str]) -> dict[str, Any]:
    """Fields of the `spec` of a gateway pod of `region`, whose gateways are those with the labels `selector`.

    A label of nodes that Region and overlay name is the Region's: its pods do not leave it.
    """
    place = region.spec.placement
    own = {"labelSelector": {"matchLabels": dict(selector)}}
    affinity = deepcopy(dict(overlay.affinity))
    for term in _terms(affinity):
        term.setdefault("labelSelector", deepcopy(own["labelSelector"]))
    found = {
        "nodeSelector": dict(overlay.node_selector) | dict(place.node_selector),
        "tolerations": tolerations((*place.tolerations, *overlay.tolerations)),
        "affinity": affinity,
        "topologySpreadConstraints": [own | dict(each) for each in overlay.topology_spread_constraints],
        "priorityClassName": overlay.priority_class_name,
    }
    return {name: value for name, value in found.items() if value}


def _terms(affinity: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Terms that select pods. What has another shape is left to the API server to refuse."""
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind, {})
        preferred = terms.get("preferredDuringSchedulingIgnoredDuringExecution", ())
        yield from terms.get("requiredDuringSchedulingIgnoredDuringExecution", ())
        yield from (each["podAffinityTerm"] for each in preferred if "podAffinityTerm" in each)
