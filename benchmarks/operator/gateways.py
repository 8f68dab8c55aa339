"""Gateways: one a region, played by a thread that acknowledges what the RoutingTables say as soon as it hears of it."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from tests.controlplane.api import APPLY_PATCH, Api
from tests.integration.operators import COLLECTIONS, path
from tomoul.api.meta import LABEL_REGION
from tomoul.plan.naming import gateway_name

_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""Of a table that many models made, all else would cost the API server more than what is measured."""


class Gateways:
    """Acknowledge each generation of each RoutingTable, for its region's one gateway."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Acknowledge no more. Raises what went wrong."""
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the watch may have just ended
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        known: dict[str, int] = {}
        try:
            while not self._stopping.is_set():
                for metadata in self._tables():
                    name, generation = metadata["name"], metadata["generation"]
                    if known.get(name) != generation:
                        _acknowledge(self._api, name, metadata["labels"][LABEL_REGION], generation)
                        known[name] = generation
        except BaseException as error:
            if not self._stopping.is_set():
                self.failure = error
        finally:
            self._api.close()

    def _tables(self) -> Iterator[dict[str, Any]]:
        """`metadata` of each RoutingTable, and of each change, until the watch ends."""
        listed = self._request("List", {})
        page = json.loads(listed.read())
        for item in page["items"] or ():
            yield item["metadata"]
        version = page["metadata"]["resourceVersion"]
        for line in self._request("", {"watch": "1", "resourceVersion": version, "timeoutSeconds": "50"}):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            if event["type"] != "DELETED":
                yield event["object"]["metadata"]

    def _request(self, of: str, query: dict[str, str]) -> Any:
        connection = self._api.connect()
        connection.connect()
        self._socket = connection.sock
        where = f"{COLLECTIONS['RoutingTable']}?{urlencode(query)}"
        connection.request("GET", where, headers={**self._api.headers(), "Accept": _METADATA.format(of)})
        return connection.getresponse()


def unacknowledged(api: Api) -> list[str]:
    """Names of the RoutingTables whose newest generation its gateway has not acknowledged."""
    found = []
    for item in api.get(COLLECTIONS["RoutingTable"])["items"]:
        accepted = [entry.get("acceptedGeneration") for entry in item.get("status", {}).get("gateways", ())]
        if accepted != [item["metadata"]["generation"]]:
            found.append(item["metadata"]["name"])
    return found


def _acknowledge(api: Api, table: str, region: str, generation: int) -> None:
    pod = f"{gateway_name(region)}-0-0"
    body = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "RoutingTable",
        "metadata": {"name": table},
        "status": {"gateways": [{"name": pod, "acceptedGeneration": generation}]},
    }
    where = f"{path('RoutingTable', table)}/status"
    api.request("PATCH", where, body, APPLY_PATCH, fieldManager=f"tomoul-agent-{pod}", force="true")
