"""KubeClient: the few verbs that Tomoul needs of the API server, over plain dicts.

Typed models of the official client cost eight times the time of plain JSON, so of that client only configuration,
authentication and the connection pool are used. Errors are those of `tomoul.kube.errors`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tomoul.kube.resources import Resource
from tomoul.plan.world import Key, Manifest

Object = dict[str, Any]
"""A Kubernetes object as the API server returns it."""

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True)
class Listing:
    """Objects of a kind at one moment: all, or a page of them."""

    items: Sequence[Object]
    resource_version: str
    """Where a watch goes on from."""


@dataclass(frozen=True)
class WatchEvent:
    """One change. A BOOKMARK's object has nothing but its `metadata.resourceVersion`."""

    type: EventType
    object: Object


class KubeClient(Protocol):
    """The verbs. Every one may raise `tomoul.kube.errors.KubeError`."""

    async def get(self, resource: Resource, key: Key) -> Object:
        """The object as it is now. NotFound if there is none."""
        ...

    def pages(
        self, resource: Resource, *, selector: str = "", namespace: str = "", only: Key | None = None
    ) -> AsyncIterator[Listing]:
        """All objects that match the label selector, page by page, so that they need not be in memory all at once.

        All pages have one version, and are consistent as of that; there is at least one. With `only` that object
        alone, if there is one: a Role that names it is enough for that.
        """
        ...

    def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        selector: str = "",
        only: Key | None = None,
        timeout_seconds: int = 300,
    ) -> AsyncIterator[WatchEvent]:
        """Changes since `resource_version`, bookmarks included; `only` as in `list`.

        Until the server ends the watch, the connection breaks, or is silent for longer than bookmarks are. Gone if the
        version is too old; another error if the watch does not begin, or the server ends it with one.
        """
        ...

    async def apply(
        self, manifest: Manifest, *, manager: str, force: bool = True, subresource: Literal["", "status"] = ""
    ) -> Object:
        """Server-side apply of exactly the fields in `manifest`. Conflict only without `force`."""
        ...

    async def patch_json(
        self,
        resource: Resource,
        key: Key,
        operations: Sequence[Mapping[str, Any]],
        *,
        manager: str,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        """RFC 6902 JSON patch. Invalid if one of its `test` operations fails."""
        ...

    async def create(self, manifest: Manifest) -> Object:
        """Create. Conflict if it exists."""
        ...

    async def replace(self, manifest: Manifest) -> Object:
        """Replace the object that has the manifest's `metadata.resourceVersion`. Conflict if it has changed."""
        ...

    async def delete(self, resource: Resource, key: Key, *, uid: str) -> None:
        """Delete the object with this uid. NotFound if it is gone, Conflict if the name now has another uid."""
        ...
