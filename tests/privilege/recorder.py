"""An authorizer that has no opinion: the API server asks it about every request before it asks RBAC.

So it hears also what an audit log does not tell: that a server-side apply creates, and that an owner reference which
blocks the owner's deletion needs `update` of the owner's finalizers.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.privilege.rights import Request

ANSWER = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": {"allowed": False}}


class Recorder:
    """Listens while its `with` block lasts, and remembers who asked for what."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "authorizer.kubeconfig"
        self._asked: dict[str, set[Request]] = {}
        self._lock = threading.Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                recorder._record(review["spec"])
                body = json.dumps(ANSWER).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> "Recorder":
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}/"}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": ""}}],
            "current-context": "tests",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        threading.Thread(target=self._server.serve_forever, name="authorizer", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def flags(self) -> tuple[str, ...]:
        """What an API server is started with to ask this authorizer first."""
        return (
            "--authorization-mode=Webhook,RBAC", f"--authorization-webhook-config-file={self.kubeconfig}",
            "--authorization-webhook-version=v1",
        )  # fmt: skip

    def asked(self, user: str) -> set[Request]:
        """What `user` has asked for, allowed or not; discovery and other requests beside the resources left out."""
        with self._lock:
            return set(self._asked.get(user, ()))

    def _record(self, spec: dict[str, Any]) -> None:
        found = spec.get("resourceAttributes")
        if found is None or found.get("name") == "*":
            return  # the plug-in for owner references asks first whether somebody may do everything
        request = Request(
            found["verb"], found.get("group", ""), found["resource"], found.get("subresource", ""),
            found.get("namespace", ""), found.get("name", ""),
        )  # fmt: skip
        with self._lock:
            self._asked.setdefault(spec["user"], set()).add(request)
