"""A server that speaks as much of Hugging Face's protocol as downloads need, and misbehaves when it is told to."""

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPO = "acme/chat"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """One repository. Counters and faults are plain attributes."""

    def __init__(self, files: dict[str, bytes], small: frozenset[str] = frozenset({"config.json"})) -> None:
        """`small` files are git blobs, the others are in Large File Storage."""
        self.files = files
        self.small = small
        self.token: str | None = None
        self.cut_after: int | None = None
        """Bytes of a file after which each connection is cut."""
        self.corrupt = 0
        """How many of the next downloads have a wrong byte."""
        self.compresses = False
        """Compresses files for clients that take that, as content networks do with JSON."""
        self.broken = 0
        """How many of the next requests get 503."""
        self.retry_after = ""
        """For how many seconds those are told not to ask again."""
        self.ranges_from = -1
        """Where what is asked for from an offset on begins in fact: 0 as where nobody knows parts of files."""
        self.page: bytes | None = None
        """What a network answers in the place of the hub, until somebody logs in."""
        self.hold: threading.Event | None = None
        """What a download waits for after its first bytes."""
        self.ranges: list[tuple[str, int]] = []
        """File and offset of each download."""
        self.asked: list[str] = []
        """Path of each request."""
        self.url = ""

    def listing(self) -> bytes:
        """What the API says of the repository."""
        siblings = []
        for name, data in self.files.items():
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": blob}
            if name not in self.small:
                sha256 = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 130}
            siblings.append(entry)
        return json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serving(hub: HubServer) -> Iterator[HubServer]:
    """Serve it on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path.partition("?")[0])
            if hub.broken:
                hub.broken -= 1
                return self.answer(503, b"")
            if hub.page is not None:
                return self.answer(200, hub.page)
            if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.answer(401, b"{}")
            path = self.path.partition("?")[0]
            if path in (f"/api/models/{REPO}/revision/main", f"/api/models/{REPO}/revision/{COMMIT}"):
                return self.answer(200, hub.listing())
            name = path.removeprefix(f"/{REPO}/resolve/{COMMIT}/")
            if name in hub.files:
                return self.file(name)
            return self.answer(404, b"{}")

        def file(self, name: str) -> None:
            data = hub.files[name]
            offset = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            hub.ranges.append((name, offset))
            if hub.corrupt:
                hub.corrupt -= 1
                data = data[:-1] + bytes([data[-1] ^ 1])
            if offset and hub.ranges_from >= 0:
                offset = hub.ranges_from
            rest = data[offset:]
            self.send_response(206 if offset else 200)
            if offset:
                self.send_header("Content-Range", f"bytes {offset}-{len(data) - 1}/{len(data)}")
            if hub.compresses and "gzip" in self.headers.get("Accept-Encoding", ""):
                rest = gzip.compress(rest)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if hub.cut_after is not None and len(rest) > hub.cut_after:
                self.wfile.write(rest[: hub.cut_after])
                self.close_connection = True
                return
            if hub.hold is not None:
                self.wfile.write(rest[:1000])
                self.wfile.flush()
                hub.hold.wait(60)
                rest = rest[1000:]
            self.wfile.write(rest)

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if status == 503 and hub.retry_after:
                self.send_header("Retry-After", hub.retry_after)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that are killed in the middle are what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        if hub.hold is not None:
            hub.hold.set()
        server.shutdown()
        server.server_close()
