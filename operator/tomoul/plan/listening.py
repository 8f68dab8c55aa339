"""Listening: on which addresses what runs in a pod takes connections."""

from typing import Any

ALL_IPV4 = "0.0.0.0"  # noqa: S104 - a pod serves the network
"""What engines are started with; `plan/pods.py` puts `ALL` in its place where pods have addresses of IPv6."""
ALL = "::"
"""All of IPv6, and of IPv4 too for what keeps the two on one socket. It needs a kernel that has IPv6."""


def listen_address(pod_ip: str) -> str:
    """Where pods of a cluster listen in which one has this address: the kubelet and Services use that family."""
    return ALL if ":" in pod_ip else ALL_IPV4


def envoy_address(address: str, port: int) -> dict[str, Any]:
    """An address that Envoy listens on."""
    both = {"ipv4_compat": True} if address == ALL else {}
    return {"socket_address": {"address": address, "port_value": port, **both}}
