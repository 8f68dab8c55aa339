"""Envoy resources as dicts → protobuf bytes; what cannot be Envoy's is refused here, before Envoy sees it."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from tomoul.gateway.compile.resources import EnvoyResource


class TypeUrl(StrEnum):
    """The kinds of resources that ADS carries, in the order in which they are sent."""

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    EXTENSIONS = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"


_MESSAGES: Mapping[TypeUrl, type[Message]] = {
    TypeUrl.CLUSTER: Cluster,
    TypeUrl.ENDPOINTS: ClusterLoadAssignment,
    TypeUrl.LISTENER: Listener,
    TypeUrl.ROUTES: RouteConfiguration,
    TypeUrl.EXTENSIONS: TypedExtensionConfig,
}


class ResourceError(Exception):
    """A resource that is not what Envoy's protobuf definitions allow: a bug of the compiler."""

    def __init__(self, type_url: TypeUrl, name: str, problem: str) -> None:
        super().__init__(f"{type_url.rpartition('.')[2]} `{name}`: {problem}")
        self.type_url = type_url


def serialize(type_url: TypeUrl, name: str, resource: EnvoyResource) -> bytes:
    """The resource as protobuf bytes, equal for equal resources. Raises ResourceError, naming the field."""
    for nested in _typed_configs(resource):
        _import_package(nested)
    try:
        message = ParseDict(dict(resource), _MESSAGES[type_url]())
    except ParseError as error:
        raise ResourceError(type_url, name, str(error)) from error
    return message.SerializeToString(deterministic=True)


def values_of(resource: object, key: str) -> Iterator[str]:
    """All strings under `key`, at any depth."""
    if isinstance(resource, Mapping):
        for name, value in resource.items():
            if name == key and isinstance(value, str):
                yield value
            else:
                yield from values_of(value, key)
    elif isinstance(resource, list | tuple):
        for value in resource:
            yield from values_of(value, key)


def holders_of(resource: object, key: str) -> Iterator[Mapping[str, object]]:
    """All messages that have `key`, at any depth."""
    if isinstance(resource, Mapping):
        if key in resource:
            yield resource
        for value in resource.values():
            yield from holders_of(value, key)
    elif isinstance(resource, list | tuple):
        for value in resource:
            yield from holders_of(value, key)


def _typed_configs(resource: EnvoyResource) -> Iterator[str]:
    """Packages of all `typed_config`s, such as `envoy.extensions.filters.http.router.v3`."""
    for type_name in values_of(resource, "@type"):
        yield type_name.rpartition("/")[2].rpartition(".")[0]


@cache
def _import_package(package: str) -> None:
    """Make the messages of a protobuf package known to protobuf, which looks `@type` up among imported modules."""
    if not package.startswith(("envoy.", "xds.", "udpa.")):
        return
    try:
        folder = importlib.import_module(package)
    except ModuleNotFoundError:
        return  # ParseDict says that it does not know the type, and which one
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")
