"""A registry that speaks as much of the OCI distribution API as pulls need, and misbehaves when it is told to."""

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TITLE = "org.opencontainers.image.title"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class RegistryServer:
    """One repository `models/chat`. Counters and faults are plain attributes."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        """Media type and bytes, by tag and by digest."""
        self.user: tuple[str, str] | None = None
        """Name and password; None lets everybody pull."""
        self.basic = False
        """Asks for the password itself in the place of a token."""
        self.realm = ""
        """Another place for tokens."""
        self.expire_after: int | None = None
        """Requests for which each token is good."""
        self.redirect = False
        """Blobs lie in a store beside the registry, which takes no authorization."""
        self.store_realm = ""
        """Place for tokens that the store names, as if it had asked for some."""
        self.cut_after: int | None = None
        """Bytes of a blob after which each connection is cut."""
        self.corrupt = 0
        """How many of the next blobs have a wrong byte."""
        self.compresses = False
        """Compresses blobs for clients that take that, as content networks do."""
        self.whole = False
        """Answers with all of a blob to who asks for a part of it."""
        self.broken = 0
        """How many of the next requests get 503."""
        self.ranges: list[int] = []
        """Offset of each download."""
        self.leaked: list[str] = []
        """Authorizations that reached the store."""
        self.tokens: dict[str, int] = {}
        self.host = ""

    def push(self, tag: str, files: dict[str, bytes], media_type: str = "application/octet-stream") -> str:
        """An artifact with these files; its digest."""
        layers = []
        for name, data in files.items():
            self.blobs[digest_of(data)] = data
            annotations = {TITLE: name}
            layers.append(
                {"mediaType": media_type, "digest": digest_of(data), "size": len(data), "annotations": annotations}
            )
        return self.put(tag, MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers})

    def put(self, tag: str, media_type: str, manifest: object) -> str:
        """A manifest as it is; its digest."""
        body = json.dumps(manifest).encode()
        self.manifests[tag] = self.manifests[digest_of(body)] = (media_type, body)
        return digest_of(body)

    def admits(self, authorization: str) -> bool:
        if self.user is None:
            return True
        if self.basic:
            return authorization == basic(*self.user)
        token = authorization.removeprefix("Bearer ")
        if self.tokens.get(token, 0) <= 0:
            return False
        self.tokens[token] -= 1
        return True


def basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@contextmanager
def serving(registry: RegistryServer, address: str = "127.0.0.1") -> Iterator[RegistryServer]:
    """Serve it at an address of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if registry.broken:
                registry.broken -= 1
                return self.answer(503, b"")
            sent = self.headers.get("Authorization", "")
            url = urlsplit(self.path)
            if url.path == "/token":
                return self.token(sent, parse_qs(url.query))
            if url.path.startswith(("/store/", "/elsewhere")):
                registry.leaked += [sent] if sent else []
                if registry.store_realm:
                    return self.answer(401, b"{}", {"WWW-Authenticate": f'Bearer realm="{registry.store_realm}"'})
                return self.blob(url.path.removeprefix("/store/"))
            if not registry.admits(sent):
                realm = registry.realm or f"http://{registry.host}/token"
                scheme = 'Basic realm="x"' if registry.basic else f'Bearer realm="{realm}",service="test"'
                return self.answer(401, b"{}", {"WWW-Authenticate": scheme})
            kind, _, what = url.path.removeprefix("/v2/models/chat/").partition("/")
            if kind == "manifests" and what in registry.manifests:
                media_type, body = registry.manifests[what]
                return self.answer(200, body, {"Content-Type": media_type})
            if kind == "blobs" and what in registry.blobs:
                if registry.redirect:
                    # Another name of this machine: another host to a client.
                    port = registry.host.partition(":")[2]
                    return self.answer(307, b"", {"Location": f"http://localhost:{port}/store/{what}"})
                return self.blob(what)
            return self.answer(404, b"{}")

        def token(self, sent: str, query: dict[str, list[str]]) -> None:
            assert query["service"] == ["test"]
            if query["scope"] != ["repository:models/chat:pull"] or sent != basic(*(registry.user or ("", ""))):
                return self.answer(401, b"{}")
            token = f"token-{len(registry.tokens)}"
            registry.tokens[token] = registry.expire_after or 1_000_000
            return self.answer(200, json.dumps({"token": token}).encode())

        def blob(self, digest: str) -> None:
            data = registry.blobs[digest]
            asked = self.headers.get("Range")
            offset = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            registry.ranges.append(offset)
            if registry.whole:
                asked, offset = None, 0
            if registry.corrupt:
                registry.corrupt -= 1
                data = data[:-1] + bytes([data[-1] ^ 1])
            rest = data[offset:]
            self.send_response(206 if asked else 200)
            if registry.compresses and "gzip" in self.headers.get("Accept-Encoding", ""):
                rest = gzip.compress(rest)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if registry.cut_after is not None and len(rest) > registry.cut_after:
                rest = rest[: registry.cut_after]
                self.close_connection = True
            self.wfile.write(rest)

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    registry.host = f"{address}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
