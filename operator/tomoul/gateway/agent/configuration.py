"""One published version: every resource as bytes, and which resources refer to which."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tomoul.gateway.agent.messages import ResourceError, TypeUrl, holders_of, serialize, values_of
from tomoul.gateway.compile.resources import EnvoyResource, EnvoyResources


@dataclass(frozen=True)
class Configuration:
    """All that an Envoy should have."""

    version: int
    label: object
    """What the publisher calls this version; handed back in its acknowledgement."""
    resources: Mapping[TypeUrl, Mapping[str, bytes]]
    assignments: Mapping[str, str]
    """ClusterLoadAssignment by the cluster that takes its endpoints from it."""
    routes: Mapping[str, frozenset[str]]
    """RouteConfigurations by the listener that uses them."""
    extensions: Mapping[str, frozenset[str]]
    """TypedExtensionConfigs by the listener whose filters use them."""
    source: EnvoyResources = field(repr=False)

    def required(self, type_url: TypeUrl) -> frozenset[str]:
        """Names that an Envoy must have accepted before it has this version."""
        if type_url is TypeUrl.ENDPOINTS:
            return frozenset(self.assignments.values())
        if type_url is TypeUrl.ROUTES:
            return frozenset().union(*self.routes.values())
        if type_url is TypeUrl.EXTENSIONS:
            return frozenset().union(*self.extensions.values())
        return frozenset(self.resources[type_url])


def configuration(
    source: EnvoyResources, version: int, label: object, previous: Configuration | None = None
) -> Configuration:
    """Serialize `source`; what equals its counterpart in `previous` is taken from there.

    Raises ResourceError for what Envoy's definitions do not allow, and for a reference to nothing: Envoy would
    wait for the missing resource instead of refusing.
    """
    groups = _groups(source)
    old = _groups(previous.source) if previous else {}
    packed: dict[TypeUrl, dict[str, bytes]] = {}
    for type_url, group in groups.items():
        before, bytes_before = old.get(type_url, {}), previous.resources[type_url] if previous else {}
        packed[type_url] = {
            name: bytes_before[name] if before.get(name) == resource else serialize(type_url, name, resource)
            for name, resource in group.items()
        }
    made = Configuration(
        version=version,
        label=label,
        resources=packed,
        assignments={
            name: str(cluster.get("eds_cluster_config", {}).get("service_name") or name)
            for name, cluster in source.clusters.items()
            if cluster.get("type") == "EDS"
        },
        routes={
            name: frozenset(values_of(listener, "route_config_name")) for name, listener in source.listeners.items()
        },
        extensions={
            name: frozenset(str(each["name"]) for each in holders_of(listener, "config_discovery"))
            for name, listener in source.listeners.items()
        },
        source=source,
    )
    _check_references(made)
    return made


def _groups(source: EnvoyResources) -> dict[TypeUrl, Mapping[str, EnvoyResource]]:
    return {
        TypeUrl.CLUSTER: source.clusters,
        TypeUrl.ENDPOINTS: source.endpoints,
        TypeUrl.LISTENER: source.listeners,
        TypeUrl.ROUTES: source.routes,
        TypeUrl.EXTENSIONS: source.extensions,
    }


def _check_references(made: Configuration) -> None:
    for cluster, assignment in made.assignments.items():
        if assignment not in made.resources[TypeUrl.ENDPOINTS]:
            raise ResourceError(TypeUrl.CLUSTER, cluster, f"there is no ClusterLoadAssignment `{assignment}`")
    for type_url, children in ((TypeUrl.ROUTES, made.routes), (TypeUrl.EXTENSIONS, made.extensions)):
        for listener, names in children.items():
            for name in names - made.resources[type_url].keys():
                kind = type_url.rpartition(".")[2]
                raise ResourceError(TypeUrl.LISTENER, listener, f"there is no {kind} `{name}`")
