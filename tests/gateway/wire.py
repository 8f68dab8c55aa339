"""A raw HTTP/1.1 client and a fake engine: tests decide every byte and see every byte."""

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Headers = Sequence[tuple[str, str]]
TIMEOUT = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes
    whole: bool = True
    """Whether the message ended as HTTP says that it must."""
    arrivals: Sequence[tuple[float, bytes]] = ()
    """Chunks of the body with the time at which each arrived."""

    def header(self, name: str) -> str | None:
        return ", ".join(value for key, value in self.headers if key == name) or None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]

    def events(self) -> list[str]:
        """The `data:` lines of a stream."""
        return [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]


def call(
    port: int,
    path: str = "/v1/chat/completions",
    body: Any = None,
    headers: Headers = (),
    *,
    method: str | None = None,
    chunked: bool = False,
    close_after: Callable[[bytes], bool] | None = None,
) -> Answer:
    """One call. `body` is bytes as they are, or data that is sent as JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    method = method or ("GET" if data is None else "POST")
    lines = [f"{method} {path} HTTP/1.1", "host: api.example.com", "connection: close"]
    if data is not None and not any(key.lower() == "content-type" for key, _ in headers):
        lines.append("content-type: application/json")
    if data is not None:
        lines.append("transfer-encoding: chunked" if chunked else f"content-length: {len(data)}")
    lines += [f"{key}: {value}" for key, value in headers]
    payload = data or b""
    if chunked:
        payload = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (payload[:7], payload[7:]) if part)
        payload += b"0\r\n\r\n"
    return send(port, "\r\n".join(lines).encode() + b"\r\n\r\n", payload, close_after=close_after)


def send(port: int, head: bytes, payload: bytes = b"", close_after: Callable[[bytes], bool] | None = None) -> Answer:
    """Exactly these bytes, and what comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:

        def upload() -> None:
            # An early answer closes the connection while the rest of a large body is still on its way.
            with contextlib.suppress(OSError):
                connection.sendall(payload)

        connection.sendall(head)
        uploading = threading.Thread(target=upload)
        uploading.start()
        answer = receive(connection, close_after)
        uploading.join()
    return answer


def receive(connection: socket.socket, close_after: Callable[[bytes], bool] | None = None) -> Answer:
    """One message; or what came until the other side closed, or until `close_after` of all that has come."""
    received, pieces = b"", []
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
            pieces.append((time.monotonic(), data))
            if (answer := _parse(received, pieces)) and answer.whole:
                return answer
            if close_after and close_after(received):
                connection.shutdown(socket.SHUT_RDWR)
                break
    answer = _parse(received, pieces)
    if answer is None:
        raise ConnectionError(f"no answer: {received!r}")
    return answer


def _parse(received: bytes, pieces: Sequence[tuple[float, bytes]]) -> Answer | None:
    head, separator, rest = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = [(key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    named = dict(headers)
    if named.get("transfer-encoding") == "chunked":
        body, whole = _dechunked(rest)
    else:
        body, whole = rest, len(rest) == int(named.get("content-length", -1))
    return Answer(int(status_line.split()[1]), headers, body, whole, tuple(pieces))


def _dechunked(data: bytes) -> tuple[bytes, bool]:
    """The body so far, and whether its end has come."""
    body = b""
    while True:
        size, separator, data = data.partition(b"\r\n")
        length = int(size, 16) if separator else 0
        if not separator or len(data) < length + 2:
            return body, False
        body, data = body + data[:length], data[length + 2 :]
        if length == 0:
            return body, True


@dataclass
class Received:
    """One request as the engine got it."""

    method: str
    path: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        return ", ".join(value for key, value in self.headers if key == name) or None

    def json(self) -> Any:
        return json.loads(self.body)


COMPLETION = b'{"id":"c-1","object":"chat.completion","created":1,"model":"m","choices":[]}'
"""An engine's answer in one piece."""

Reply = bytes | float
"""Bytes to send, or seconds to wait before the next ones."""


def reply(status: int, body: bytes, content_type: str = "application/json", *, headers: Headers = ()) -> list[Reply]:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}"]
    lines += [f"{key}: {value}" for key, value in headers]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + body]


def stream(*parts: bytes | float, finished: bool = True, headers: Headers = ()) -> list[Reply]:
    """A chunked stream of server-sent events, each part one chunk."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked"]
    lines += [f"{key}: {value}" for key, value in headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    chunks = [part if isinstance(part, float) else b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return [head, *chunks, *([b"0\r\n\r\n"] if finished else [])]


def named(body: bytes, as_what: bytes) -> bytes:
    """A stream as its engine might have sent it, under the id `as_what` and without the fingerprint behind that."""
    return re.sub(rb'chatcmpl_\w+","system_fingerprint":"fp_\w+"', as_what + b'"', body)


@dataclass
class FakeEngine:
    """An engine that remembers what it got and answers what it is told to."""

    name: str = "engine"
    received: list[Received] = field(default_factory=list)
    behave: Callable[[Received], Sequence[Reply]] | None = None
    disconnects: list[float] = field(default_factory=list)
    """When a client went away while it was still being answered."""
    connections: int = 0
    """How many were made to it."""
    port: int = 0
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    health: Sequence[Reply] = field(default_factory=lambda: reply(200, b""))
    """What it answers as another region's gateway that is asked whether it is there."""

    def start(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._listener = socket.create_server((self.address, self.port), backlog=128, family=family)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and cut those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), self._secured(connection) as connection:
            while True:
                request = _read_request(connection)
                if request.path == "/-/ready":  # another region's gateway asks whether this one is there
                    connection.sendall(bytes(self.health[0]))
                    continue
                self.received.append(request)
                replies = self.behave(request) if self.behave else self._complete(request)
                for part in replies:
                    if isinstance(part, float):
                        time.sleep(part)
                        continue
                    try:
                        connection.sendall(part)
                    except OSError:
                        self.disconnects.append(time.monotonic())
                        raise
                if not replies or _unfinished(replies):
                    break
        self._open.discard(connection)

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self.tls.wrap_socket(connection, server_side=True) if self.tls else connection

    def _complete(self, request: Received) -> Sequence[Reply]:
        body = json.loads(request.body)
        if body.get("stream"):
            events = [chunk("chatcmpl-7f3a", "Hel"), chunk("chatcmpl-7f3a", "lo"), "[DONE]"]
            return stream(*(f"data: {event}\n\n".encode() for event in events))
        message = {"role": "assistant", "content": f"from {self.name}"}
        return reply(
            200,
            json.dumps(
                {
                    "id": "chatcmpl-7f3a",
                    "object": "chat.completion",
                    "created": 1,
                    "model": body["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                }
            ).encode(),
        )


def chunk(completion_id: str, content: str) -> str:
    return json.dumps(
        {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "model": "acme/both",
            "choices": [{"index": 0, "delta": {"content": content}}],
        },
        separators=(",", ":"),
    )


def _unfinished(replies: Sequence[Reply]) -> bool:
    first, last = replies[0], replies[-1]
    return (
        isinstance(first, bytes)
        and b"chunked" in first
        and not (isinstance(last, bytes) and last.endswith(b"0\r\n\r\n"))
    )


def _read_request(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = request_line.split()
    headers = [(key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    named = dict(headers)
    if named.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += _some(connection)
        body, _ = _dechunked(body)
    else:
        while len(body) < int(named.get("content-length", 0)):
            body += _some(connection)
    return Received(method, path, headers, body)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 20)
    if not data:
        raise EOFError
    return data
