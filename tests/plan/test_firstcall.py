"""The startup probe's command, run by a real bash against what an engine may answer."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.controlplane.process import free_port
from tomoul.plan.firstcall import first_call
from tomoul.plan.listening import ALL, ALL_IPV4

COMPLETION = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "é"}}]}


@contextmanager
def engine(status: int, answer: object) -> Iterator[tuple[int, list[object]]]:
    """The port of an engine that answers so, and the bodies that it got."""
    bodies: list[object] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(port: int, listen_address: str = ALL_IPV4) -> subprocess.CompletedProcess[str]:
    command = first_call("acme/chat", port, listen_address)
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("listen_address", [ALL_IPV4, ALL])
def test_an_engine_that_completes_a_chat_has_answered(listen_address: str) -> None:
    with engine(200, COMPLETION) as (port, bodies):
        assert run(port, listen_address).returncode == 0
    assert bodies == [{"model": "acme/chat", "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (503, {"error": {"message": "Loading model"}}),
        (400, {"error": {"message": "no chat template; there are no choices"}}),
        (500, COMPLETION),
        (200, {"error": {"message": "engine is dead"}}),
    ],
)
def test_anything_else_has_not_and_is_told_to_whoever_looks_at_the_probe(status: int, answer: object) -> None:
    with engine(status, answer) as (port, _):
        done = run(port)
    assert done.returncode == 1
    assert str(status) in done.stdout
    assert "message" in done.stdout


def test_an_engine_that_does_not_listen_has_not_answered() -> None:
    assert run(free_port()).returncode == 1
