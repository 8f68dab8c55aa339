"""KubeClient over HTTP: configuration, authentication and TLS are those of `kubernetes.aio`."""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
import orjson
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, incluster_config, kube_config

from tomoul import __version__
from tomoul.kube.client import Listing, Object, WatchEvent
from tomoul.kube.errors import Unavailable, error_of, words_of
from tomoul.kube.resources import Resource, key_of, resource_of
from tomoul.plan.world import Key, Manifest

logger = logging.getLogger(__name__)

PAGE = 100
"""Objects of a list that are in memory at once: as Python has them, ten times their JSON."""
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
# The API server compresses what is large, lists and tables: within a cluster that takes longer than to send it.
ENCODING = {"Accept-Encoding": "identity"}
_BROKEN = (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError)
WATCH_SILENCE = 80.0
"""The API server sends a bookmark about once a minute: a watch that is silent for longer is dead."""
WATCH_GRACE = 30.0
"""How much longer than it was asked for a watch may last: a server that never ends a line is not silent."""
LONGEST_RETRY_AFTER = 60.0
"""The API server asks for a second or some; a proxy before it may ask for a day."""


class HttpKubeClient:
    """A KubeClient for one API server; use it as an async context manager."""

    def __init__(self, configuration: Configuration, *, user_agent: str = f"tomoul/{__version__}") -> None:
        self.configuration = configuration
        self._api = ApiClient(configuration)
        self._session: aiohttp.ClientSession | None = None
        self._user_agent = user_agent

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> Self:
        """Client for the cluster around the pod, else for the kubeconfig file (argument, KUBECONFIG, ~/.kube/config).

        In a cluster the ServiceAccount's token is read again every minute. Raises `ConfigException` or `OSError` if
        there is neither.
        """
        configuration = Configuration()
        if kubeconfig is None and incluster_config.SERVICE_HOST_ENV_NAME in os.environ:
            incluster_config.load_incluster_config(configuration)
        else:
            try:
                await kube_config.load_kube_config(kubeconfig, client_configuration=configuration)
            except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
                # What the official client meets where the file is something else.
                raise ConfigException(f"{kubeconfig or 'the kubeconfig'} is none: {error}") from error
        return cls(configuration)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
        await self._api.close()

    async def get(self, resource: Resource, key: Key) -> Object:
        """See KubeClient."""
        return await self._call("GET", resource.path(key))

    async def pages(
        self, resource: Resource, *, selector: str = "", namespace: str = "", only: Key | None = None
    ) -> AsyncIterator[Listing]:
        """See KubeClient."""
        query = {"limit": str(PAGE), "labelSelector": selector, "fieldSelector": _fields(only)}
        path = resource.path(namespace=only.namespace if only else namespace)
        while True:
            page = await self._call("GET", path, query)
            # Items of a list come without these two, and everything downstream goes by them.
            known = {"apiVersion": resource.api_version, "kind": resource.kind}
            items = [{**known, **item} for item in page.get("items") or ()]  # Go has a null for an empty one
            metadata = page["metadata"]
            del page
            yield Listing(items, metadata["resourceVersion"])
            del items  # not in memory beside the next page
            if not (token := metadata.get("continue")):
                return
            query["continue"] = token

    async def list(
        self, resource: Resource, *, selector: str = "", namespace: str = "", only: Key | None = None
    ) -> Listing:
        """All pages as one: for what is known to be small."""
        items: list[Object] = []
        version = ""
        async for page in self.pages(resource, selector=selector, namespace=namespace, only=only):
            items += page.items
            version = page.resource_version
        return Listing(items, version)

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        selector: str = "",
        only: Key | None = None,
        timeout_seconds: int = 300,
    ) -> AsyncIterator[WatchEvent]:
        """See KubeClient."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": selector,
            "fieldSelector": _fields(only),
            "timeoutSeconds": str(timeout_seconds),
        }
        path = resource.path(namespace=only.namespace if only else "")
        timeout = aiohttp.ClientTimeout(total=timeout_seconds + WATCH_GRACE, sock_connect=5, sock_read=WATCH_SILENCE)
        async with self._request("GET", path, query, timeout=timeout) as response:
            # Lines are split here: aiohttp's readline refuses long ones, and one object may have more than a megabyte.
            tail = b""
            try:
                async for chunk in response.content.iter_any():
                    *lines, tail = (tail + chunk).split(b"\n")
                    for line in lines:
                        yield event_of(path, line)
            except _BROKEN as error:
                logger.debug("the watch of %s ends: %s: %s", path, type(error).__name__, error)
            finally:
                # TLS would wait for a server that goes on to send, perhaps for longer than this process lives.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    async def apply(
        self, manifest: Manifest, *, manager: str, force: bool = True, subresource: Literal["", "status"] = ""
    ) -> Object:
        """See KubeClient.

        An apply is refused for fields that the schema does not know whatever `fieldValidation` says: that would only
        have the body read a second time for repeated names, which one made from a dict has not.
        """
        return await self._call(
            "PATCH",
            resource_of(manifest).path(key_of(manifest), subresource=subresource),
            {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Ignore"},
            dict(manifest),
            content_type="application/apply-patch+yaml",
        )

    async def patch_json(
        self,
        resource: Resource,
        key: Key,
        operations: Sequence[Mapping[str, Any]],
        *,
        manager: str,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        """See KubeClient."""
        return await self._call(
            "PATCH",
            resource.path(key, subresource=subresource),
            {"fieldManager": manager},
            [dict(operation) for operation in operations],
            content_type="application/json-patch+json",
        )

    async def create(self, manifest: Manifest) -> Object:
        """See KubeClient."""
        path = resource_of(manifest).path(namespace=key_of(manifest).namespace)
        return await self._call("POST", path, body=dict(manifest))

    async def replace(self, manifest: Manifest) -> Object:
        """See KubeClient."""
        return await self._call("PUT", resource_of(manifest).path(key_of(manifest)), body=dict(manifest))

    async def delete(self, resource: Resource, key: Key, *, uid: str) -> None:
        """See KubeClient."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._call("DELETE", resource.path(key), body=options)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        *,
        content_type: str = "application/json",
    ) -> Object:
        async with self._request(method, path, query, body, content_type) as response:
            text = await response.read()
            result = _parsed(text)
            if "metadata" not in result:
                raise Unavailable(f"{method} {path}: no object of Kubernetes: {_start(text)}")
            return result

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout = REQUEST_TIMEOUT,  # noqa: ASYNC109 - aiohttp's, not one of ours
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request whose answer is a success, or a KubeError; the answer's body is not read yet."""
        headers = {"User-Agent": self._user_agent, "Accept": "application/json", "Content-Type": content_type}
        parameters = urlencode({name: value for name, value in (query or {}).items() if value})
        url = f"{self.configuration.host}{path}{'?' if parameters else ''}{parameters}"
        try:
            if credentials := await self.configuration.get_api_key_with_prefix("BearerToken"):
                headers["Authorization"] = credentials
            async with self._connections().request(
                method,
                url,
                headers=headers,
                data=orjson.dumps(body) if body is not None else None,
                timeout=timeout,
                server_hostname=self.configuration.tls_server_name,
            ) as response:
                if response.status >= 400:
                    text = (await response.read()).decode(errors="replace")
                    raise error_of(response.status, f"{method} {path}: {words_of(text)}", retry_after(response))
                yield response
        except _BROKEN as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                trust_anew(self._api.rest_client.ssl_context, self.configuration)
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}") from error

    def _connections(self) -> aiohttp.ClientSession:
        # The official client's own one encodes every body with Python's json, and by default looks for a .netrc before
        # each request, in a thread. Proxies are the configuration's, as kopf's. Each watch holds a connection, and an
        # agent has one for each tenant's Secret: what is past a limit would wait.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._api.rest_client.ssl_context),
                proxy=self.configuration.proxy,
                headers=ENCODING,
            )
        return self._session


def _fields(only: Key | None) -> str:
    return f"metadata.name={only.name}" if only else ""


def trust_anew(tls: ssl.SSLContext, configuration: Configuration) -> None:
    """Trust the authority that is in the file by now: a cluster may get another one, and the kubelet writes it there.

    The one before stays trusted until the process ends.
    """
    if configuration.ssl_ca_cert:
        try:
            tls.load_verify_locations(cafile=configuration.ssl_ca_cert)
        except OSError as error:  # ssl.SSLError is one
            logger.warning("the API server's authority cannot be read: %s", error)


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds that the server asks to wait, within reason; None if it does not say, or says a date."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_RETRY_AFTER) if value.isdecimal() else None


def event_of(path: str, line: bytes) -> WatchEvent:
    """A line of a watch. Raises KubeError for one that tells of an error, and Unavailable for what is no event."""
    event = _parsed(line)
    if not isinstance(event.get("object"), dict) or "type" not in event:
        raise Unavailable(f"GET {path}: no event of a watch: {_start(line)}")
    if event["type"] == "ERROR":
        raise error_of(event["object"].get("code", 500), event["object"].get("message", ""))
    return WatchEvent(event["type"], event["object"])


def _parsed(text: bytes) -> Object:
    """Nothing, where it is no JSON object: not everything that says 200 is the API server."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _start(text: bytes) -> str:
    """How a page begins; of all else only the size, as it may be a part of a Secret."""
    page = text.lstrip()
    return page[:200].decode(errors="replace") if page.startswith(b"<") else f"{len(text)} bytes"
