"""A kubelet without containers: it says of scheduled pods what a test wants to hear, and lets deleted ones go."""

import contextlib
import http.client
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests.controlplane.api import STRATEGIC_MERGE_PATCH, Api, ApiError, Object

Status = Callable[[Object], Mapping[str, Any] | None]
"""The status that a scheduled pod should have, or None to leave the pod alone."""

_numbers = itertools.count(1)
NOW = "2026-01-01T00:00:00Z"


def running(pod: Object) -> Mapping[str, Any]:
    """Running and ready, with an IP of its own."""
    number = next(_numbers)
    ip = pod.get("status", {}).get("podIP") or f"10.244.{number // 250 % 250}.{number % 250 + 1}"
    return running_at(ip)(pod)


def running_at(ip: str) -> Callable[[Object], Mapping[str, Any]]:
    """Running and ready with a given IP, such as 127.0.0.1 where a test's own server listens."""

    def status(pod: Object) -> Mapping[str, Any]:
        conditions = ("Initialized", "ContainersReady", "Ready", "PodReadyToStartContainers")
        return {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": NOW,
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": NOW} for kind in conditions],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": NOW}},
                }
                for container in pod["spec"]["containers"]
            ],
        }

    return status


def waiting(reason: str, message: str = "") -> Status:
    """Pending, with every container waiting for `reason`, such as ImagePullBackOff."""
    return _not_ready("Pending", {"state": {"waiting": {"reason": reason, "message": message}}})


def starting(since: str = NOW) -> Status:
    """Running since then, while no startup probe has passed."""
    return _not_ready("Running", {"state": {"running": {"startedAt": since}}})


def crashing(exit_code: int, log: str, reason: str = "Error") -> Status:
    """Running, with every container waiting to be started again after it ended so, with that at the end of its log."""
    ended = {"exitCode": exit_code, "reason": reason, "message": log, "startedAt": NOW, "finishedAt": NOW}
    back_off = {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}
    state = {"state": {"waiting": back_off}, "lastState": {"terminated": ended}, "restartCount": 2}
    return _not_ready("Running", state)


def evicted(message: str) -> Status:
    """Failed, because its node was short of something."""

    def status(pod: Object) -> Mapping[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        taken = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        return {
            "phase": "Failed",
            "reason": "Evicted",
            "message": message,
            "startTime": now,
            "conditions": [{**taken, "lastTransitionTime": now}],
        }

    return status


def _not_ready(phase: str, state: Mapping[str, Any]) -> Status:
    def status(pod: Object) -> Mapping[str, Any]:
        conditions = [
            {"type": kind, "status": "False", "lastTransitionTime": NOW} for kind in ("ContainersReady", "Ready")
        ]
        return {
            "phase": phase,
            "startTime": NOW,
            "conditions": conditions,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "started": False,
                    "restartCount": 0,
                    **state,
                }
                for container in pod["spec"]["containers"]
            ],
        }

    return status


class Kubelet:
    """A thread that watches pods while its `with` block lasts. `status` may be replaced meanwhile: see `set_status`."""

    def __init__(self, api: Api, namespace: str, selector: str, status: Status) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        self._query = {"labelSelector": selector} if selector else {}
        self._status = status
        self._done: dict[str, object] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self.failure: BaseException | None = None

    def __enter__(self) -> "Kubelet":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it may be closed already
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        if self.failure is not None and error is None:
            raise self.failure

    def set_status(self, status: Status) -> None:
        """Use another status from now on, for the pods that run already too."""
        with self._lock:
            self._status = status
            self._done.clear()
        for pod in self._api.get(self._path, **self._query)["items"]:
            self._handle(pod)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    for pod in self._pods():
                        self._handle(pod)
                except (OSError, http.client.HTTPException, ApiError, ValueError):
                    self._stopping.wait(0.1)  # the API server went away, or the watch ended: list again
        except BaseException as error:
            self.failure = error
        finally:
            self._api.close()

    def _pods(self) -> Iterator[Object]:
        listed = self._api.get(self._path, **self._query)
        yield from listed["items"]
        version = listed["metadata"]["resourceVersion"]
        query = urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": "50", **self._query})
        connection = self._api.connect()
        try:
            connection.connect()
            self._socket = connection.sock
            connection.request("GET", f"{self._path}?{query}", headers=dict(self._api.headers()))
            with connection.getresponse() as response:
                for line in response:
                    event = json.loads(line)
                    if event["type"] == "ERROR" or self._stopping.is_set():
                        return
                    if event["type"] != "DELETED":
                        yield event["object"]
        finally:
            connection.close()

    def _handle(self, pod: Object) -> None:
        meta = pod["metadata"]
        if not pod["spec"].get("nodeName"):
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        try:
            if "deletionTimestamp" in meta:
                self._api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
                return
            with self._lock:
                if meta["uid"] in self._done:
                    return
                status = self._status(pod)
                self._done[meta["uid"]] = True
            if status is not None:
                self._api.patch(f"{path}/status", {"status": status}, STRATEGIC_MERGE_PATCH)
        except ApiError as error:
            if error.status not in (404, 409):  # it went away, or was replaced, meanwhile
                self._forget(meta["uid"])
                raise
        except (OSError, http.client.HTTPException):
            self._forget(meta["uid"])
            raise

    def _forget(self, uid: str) -> None:
        """What an API server that went away may not have heard is said again."""
        with self._lock:
            self._done.pop(uid, None)
