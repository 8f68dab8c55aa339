"""The metrics port of gateways whose pods are only objects: figures as Envoy writes them, at their own address."""

import http.server
import os
import random
import threading
from types import TracebackType

METRICS_PORT = 9090


class StatsServer:
    """Tells what a test sets, while its `with` block lasts. `tests/gateway` holds what a real Envoy tells."""

    def __init__(self) -> None:
        # Loopback has 16 million addresses: other tests have theirs.
        self.ip = f"127.{os.getpid() % 250 + 1}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self.in_flight: dict[str, int] = {}
        """Calls by cluster."""
        self.refused: dict[str, int] = {}
        self.broken = False
        self._server = http.server.ThreadingHTTPServer((self.ip, METRICS_PORT), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "StatsServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        stats = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(500 if stats.broken else 200)
                self.end_headers()
                self.wfile.write(stats.text().encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                pass

        return Handler

    def text(self) -> str:
        lines = [
            f'envoy_cluster_upstream_rq_active{{envoy_cluster_name="{cluster}"}} {calls}'
            for cluster, calls in self.in_flight.items()
        ]
        lines += [
            f'envoy_cluster_upstream_cx_none_healthy{{envoy_cluster_name="{cluster}"}} {calls}'
            for cluster, calls in self.refused.items()
        ]
        return "\n".join(lines) + "\n"
