"""Server: answers `GET /progress` while the loader works, so that the operator can tell how far it is.

The loader has no rights in the cluster, not even a token: who wants to know asks it.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tomoul.loader.progress import Progress

PATH = "/progress"


@contextmanager
def serving(progress: Progress, port: int) -> Iterator[int]:
    """Serve at `port` of every address (0: any that is free); the port."""

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

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
