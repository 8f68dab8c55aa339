"""Call: one request to the API server, taken apart."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

WRITES = ("create", "apply", "patch", "update", "delete")


@dataclass(frozen=True)
class Call:
    """What a client asks for."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    verb: str
    """get, list, watch, create, apply (a server-side apply), patch, update or delete; `other` beside the resources."""
    resource: str = ""
    """Plural, with a subresource where there is one: `deployments`, `regions/status`."""
    namespace: str = ""
    name: str = ""

    @property
    def writes(self) -> bool:
        return self.verb in WRITES

    @property
    def object(self) -> str:
        """The object that is written, the lease's renewals told apart from the rest by their resource."""
        name = self.name or (json.loads(self.body)["metadata"]["name"] if self.verb == "create" else "")
        return f"{self.resource} {self.namespace}/{name}" if self.namespace else f"{self.resource} {name}"

    def __str__(self) -> str:
        return f"{self.verb} {self.object}"


def call_of(method: str, path: str, query_string: str, body: bytes, content_type: str) -> Call:
    """Take a request apart as the API server does."""
    query = dict(parse_qsl(query_string))
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if not parts:
        return Call(method, path, query, body, "other")
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, *sub = [*parts, ""] if len(parts) == 1 else parts
    return Call(
        method, path, query, body,
        _verb(method, bool(name), query, content_type), "/".join([plural, *sub]), namespace, name,
    )  # fmt: skip


def _verb(method: str, named: bool, query: Mapping[str, Any], content_type: str) -> str:
    if method == "GET":
        return "watch" if query.get("watch") in ("true", "1") else "get" if named else "list"
    if method == "PATCH":
        return "apply" if content_type.startswith("application/apply-patch") else "patch"
    return {"POST": "create", "PUT": "update", "DELETE": "delete"}[method]
