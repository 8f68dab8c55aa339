"""HTTP to the API server in plain dicts: what tests set up and look at."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

Object = dict[str, Any]
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
T = TypeVar("T")


class ApiError(Exception):
    """The API server refused; `status` is HTTP's, `body` the Status object."""

    def __init__(self, status: int, body: Object) -> None:
        super().__init__(f"{status}: {body.get('message', body)}")
        self.status = status
        self.body = body


class Api:
    """A client with one connection per thread."""

    def __init__(self, port: int, token: str, ca_file: Path) -> None:
        self.port = port
        self._token = token
        self._ca_file = ca_file
        self._local = threading.local()

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of one's own, for a watch."""
        context = ssl.create_default_context(cafile=str(self._ca_file))
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)

    def headers(self, content_type: str = JSON) -> Mapping[str, str]:
        """Headers of a request with a body of that type."""
        return {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": JSON}

    def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = JSON, **query: str
    ) -> Object:
        """The answer's object. Raises ApiError when refused, OSError when the server cannot be reached."""
        url = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body)
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        fresh = connection is None
        connection = connection or self.connect()
        self._local.connection = None
        try:
            connection.request(method, url, body=data, headers=dict(self.headers(content_type)))
            with connection.getresponse() as response:  # one that breaks off keeps the socket open until it is closed
                payload = response.read()
        except (http.client.HTTPException, ConnectionError, ssl.SSLEOFError):
            connection.close()
            if fresh:
                raise
            return self.request(method, path, body, content_type, **query)  # an idle connection had been closed
        except BaseException:
            connection.close()
            raise
        self._local.connection = connection
        answer: Object
        try:
            answer = json.loads(payload)
        except ValueError:
            answer = {"message": payload.decode(errors="replace")}
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return answer

    def close(self) -> None:
        """Close this thread's connection."""
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()

    def get(self, path: str, **query: str) -> Object:
        """GET an object or a list."""
        return self.request("GET", path, **query)

    def create(self, path: str, body: Object, **query: str) -> Object:
        """POST an object to a collection."""
        return self.request("POST", path, body, **query)

    def patch(self, path: str, body: Object, content_type: str = MERGE_PATCH, **query: str) -> Object:
        """PATCH an object, as a merge patch unless told."""
        return self.request("PATCH", path, body, content_type, **query)

    def apply(self, path: str, body: Object, manager: str = "tests", **query: str) -> Object:
        """Server-side apply, with force."""
        return self.request("PATCH", path, body, APPLY_PATCH, fieldManager=manager, force="true", **query)

    def delete(self, path: str, body: Object | None = None) -> Object:
        """DELETE an object."""
        return self.request("DELETE", path, body)

    def remove(self, path: str) -> None:
        """Delete what may be gone already, such as with its namespace. Raises ApiError."""
        try:
            self.delete(path)
        except ApiError as error:
            if error.status != 404:
                raise

    def gone(self, path: str) -> bool:
        """Whether an object does not exist."""
        try:
            self.get(path)
        except ApiError as error:
            if error.status == 404:
                return True
            raise
        return False


def eventually(what: Callable[[], T], seconds: float = 30, message: str = "") -> T:
    """The first true result of `what`, called again until a deadline. AssertionError and ApiError count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        last: object
        try:
            result = what()
            if result:
                return result
            last = result
        except (AssertionError, ApiError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{message or what} did not hold within {seconds} s; last: {last}")
        time.sleep(0.05)
