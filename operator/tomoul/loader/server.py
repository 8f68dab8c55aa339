"""Server: answers `GET /progress` while the loader works, so that the operator can tell how far it is.

The loader has no rights in the cluster, not even a token: who wants to know asks it.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tomoul.loader.progress import Progress

PATH = "/progress"


@contextmanager
def serving(progress: Progress, port: int, address: str = "") -> Iterator[int]:
    """Serve at `port` (0: any that is free) of an IPv4 address, or of all addresses of both kinds; the port."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """The progress as JSON."""
            body = json.dumps(progress.report()).encode() if self.path == PATH else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nothing: the operator asks every few seconds."""

    class Server(ThreadingHTTPServer):
        # Where a pod has only an address of IPv6, nobody would reach the others.
        address_family = socket.AF_INET6 if not address and socket.has_dualstack_ipv6() else socket.AF_INET

        def server_bind(self) -> None:
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    server = Server((address, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
