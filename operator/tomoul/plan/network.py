"""NetworkPolicies: gateways alone reach engines, clients reach gateways at one port, and scrapers read metrics."""

from collections.abc import Sequence
from typing import Any

from tomoul.api.meta import COMPONENT_GATEWAY, COMPONENT_OPERATOR, COMPONENT_WORKER, LABEL_COMPONENT, LABEL_REGION
from tomoul.plan.engines.base import PORT
from tomoul.plan.settings import Settings
from tomoul.plan.weights import LOADER_PORT

# Where clouds tell a node's pods who the node is, and hand out its credentials: over plain HTTP, at port 80.
_METADATA = {
    "0.0.0.0/0": ["169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"],
    "::/0": ["fe80::/10", "fd00:ec2::/32"],
}
_METADATA_PORT = 80
_DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def engine_policy(
    selector: dict[str, str],
    region: str,
    downloads: Sequence[int],
    settings: Settings,
    together: dict[str, str] | None = None,
) -> dict[str, Any]:
    """`spec` of the policy of a model's engines in `region`, whose loaders connect to the ports `downloads`.

    `together`: labels of the pods that a replica is made of, where it is several.
    """
    gateways = {
        "namespaceSelector": _namespace(settings.namespace),
        "podSelector": {"matchLabels": {LABEL_COMPONENT: COMPONENT_GATEWAY, LABEL_REGION: region}},
    }
    calls = {"from": [gateways, *_scrapers(settings)], "ports": [{"port": PORT, "protocol": "TCP"}]}
    return _policy_of_pods(selector, [calls], downloads, settings, together)


def worker_policy(together: dict[str, str], downloads: Sequence[int], settings: Settings) -> dict[str, Any]:
    """`spec` of the policy of pods that only the others of their replica reach; `together`: the labels of all."""
    return _policy_of_pods({**together, LABEL_COMPONENT: COMPONENT_WORKER}, [], downloads, settings, together)


def _policy_of_pods(
    selector: dict[str, str],
    ingress: list[dict[str, Any]],
    downloads: Sequence[int],
    settings: Settings,
    together: dict[str, str] | None,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }
    # At ports that their libraries choose.
    others = [{"podSelector": {"matchLabels": together}}] if together is not None else []
    if others:
        spec["ingress"].append({"from": others})
    if downloads:
        # How far the loader is, it tells the operator alone.
        spec["ingress"].append({"from": [_operator(settings)], "ports": [{"port": LOADER_PORT, "protocol": "TCP"}]})
    if settings.engine_egress == "Restricted":
        # Prompts go into an engine and answers come out of it: nothing in its pod has to begin a connection but the
        # loader, from which Kubernetes' policies cannot tell it, and what works with the other pods of the replica.
        spec["policyTypes"].append("Egress")
        egress = _stores(downloads) + ([{"to": others}] if others else [])
        spec["egress"] = [_DNS, *egress] if egress else []
    return spec


def _stores(downloads: Sequence[int]) -> list[dict[str, Any]]:
    """Rules for the ports at which stores are, wherever they are. What an address in a call has an engine fetch goes by
    them too.
    """
    anywhere = [{"port": port, "protocol": "TCP"} for port in downloads if port != _METADATA_PORT]
    rules: list[dict[str, Any]] = [{"ports": anywhere}] if anywhere else []
    if _METADATA_PORT in downloads:
        blocks = [{"ipBlock": {"cidr": every, "except": but}} for every, but in _METADATA.items()]
        rules.append(
            {"to": [*blocks, {"namespaceSelector": {}}], "ports": [{"port": _METADATA_PORT, "protocol": "TCP"}]}
        )
    return rules


def gateway_policy(
    selector: dict[str, str], settings: Settings, *, open_port: int, counts_port: int, metrics_ports: tuple[int, ...]
) -> dict[str, Any]:
    """`spec` of the policy of a region's gateways: calls come from anywhere, scrapers from where they are said to be.

    At `counts_port` the operator reads what became of a canary's calls, and how many pools that scale have in flight.
    What gateways reach is left open: the API server's address and port are the cluster's own, other regions' gateways
    are wherever their Regions say.
    """
    ingress: list[dict[str, Any]] = [
        {"ports": [{"port": open_port, "protocol": "TCP"}]},
        {"from": [_operator(settings)], "ports": [{"port": counts_port, "protocol": "TCP"}]},
    ]
    # Without a peer a rule admits everybody.
    if scrapers := _scrapers(settings):
        ingress.append({"from": scrapers, "ports": [{"port": port, "protocol": "TCP"} for port in metrics_ports]})
    return {"podSelector": {"matchLabels": selector}, "policyTypes": ["Ingress"], "ingress": ingress}


def _operator(settings: Settings) -> dict[str, Any]:
    return {
        "namespaceSelector": _namespace(settings.namespace),
        "podSelector": {"matchLabels": {LABEL_COMPONENT: COMPONENT_OPERATOR}},
    }


def _scrapers(settings: Settings) -> list[dict[str, Any]]:
    return [{"namespaceSelector": _namespace(name)} for name in settings.scrape_namespaces]


def _namespace(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}
