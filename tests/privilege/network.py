"""What NetworkPolicies let through, by the semantics of networking.k8s.io/v1. Pure: no cluster of ours enforces them.

Only what the policies of this repository use is understood; anything else raises.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod, or with an empty namespace something outside the cluster."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Container ports by name."""
    address: str = "192.0.2.1"
    """Of what is outside; where pods are, policies of ours do not say by addresses."""


def connects(policies: Iterable[Policy], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection from `source` to `port` of `target` comes about."""
    listed = list(policies)
    return _lets(listed, "Egress", source, target, port, protocol) and _lets(
        listed, "Ingress", target, source, port, protocol
    )


def _lets(policies: list[Policy], direction: str, subject: Peer, other: Peer, port: int, protocol: str) -> bool:
    chosen = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == subject.namespace
        and _matches(policy["spec"]["podSelector"], subject.labels)
        and direction in policy["spec"]["policyTypes"]
    ]
    if not chosen:
        return True  # a pod that no policy selects is open
    key, side = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    target = other if direction == "Egress" else subject
    return any(
        _port(rule, target, port, protocol) and _peer(rule.get(side), other, subject.namespace)
        for spec in chosen
        for rule in spec.get(key, [])
    )


def _port(rule: Mapping[str, Any], target: Peer, port: int, protocol: str) -> bool:
    if "ports" not in rule:
        return True
    for entry in rule["ports"]:
        assert entry.keys() <= {"port", "protocol"}, entry
        number = target.ports.get(entry["port"]) if isinstance(entry["port"], str) else entry["port"]
        if (number, entry.get("protocol", "TCP")) == (port, protocol):
            return True
    return False


def _peer(peers: list[Mapping[str, Any]] | None, other: Peer, namespace: str) -> bool:
    if not peers:
        return True  # a rule that names nobody means everybody
    for peer in peers:
        assert peer.keys() <= {"namespaceSelector", "podSelector", "ipBlock"}, peer
        if "ipBlock" in peer:
            if not other.namespace and _in_block(other.address, peer["ipBlock"]):
                return True
            continue
        if not other.namespace:
            continue
        if "namespaceSelector" in peer:
            where = _matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
        else:
            where = other.namespace == namespace
        if where and _matches(peer.get("podSelector", {}), other.labels):
            return True
    return False


def _in_block(address: str, block: Mapping[str, Any]) -> bool:
    found = ipaddress.ip_address(address)
    left_out = any(found in ipaddress.ip_network(each) for each in block.get("except", ()))
    return found in ipaddress.ip_network(block["cidr"]) and not left_out


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, selector
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
