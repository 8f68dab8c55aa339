"""Loaders behind a proxy, and at stores with certificates of one's own authority, as variables of their image say."""

import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import pytest

SOURCES = {
    "hf": ["--repo=acme/chat", "--revision=main"],
    "s3": ["--bucket=b", "--folder=f", "--endpoint=https://localhost:PORT"],
    "oci": ["--reference=localhost:PORT/acme/chat:v1"],
}


class Server:
    """Answers everything with 404, and knows what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_CONNECT(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self.http: HTTPServer = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @contextmanager
    def serving(self) -> Iterator[int]:
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        try:
            yield self.http.server_port
        finally:
            self.http.shutdown()
            self.http.server_close()


@contextmanager
def loader(source: str, port: int, volume: Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    args = [arg.replace("PORT", str(port)) for arg in SOURCES[source]]
    command = [sys.executable, "-m", "tomoul", "load", source, str(volume), "chat", *args]
    env = {**os.environ, "HF_ENDPOINT": f"https://localhost:{port}", **variables}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("source", SOURCES)
def test_an_authority_of_ones_own_is_believed_if_the_image_names_its_certificate(source: str, tmp_path: Path) -> None:
    made = """
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request -subj /CN=localhost
        echo subjectAltName=DNS:localhost >names
        openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -out certificate.pem -extfile names
    """
    subprocess.run(["sh", "-ec", made], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server = Server()
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    with server.serving() as port:
        with loader(source, port, tmp_path) as stranger:
            assert stranger.stderr is not None
            assert re.search("CERTIFICATE_VERIFY_FAILED|UnknownIssuer", stranger.stderr.readline())
        assert server.asked == []
        with loader(source, port, tmp_path, SSL_CERT_FILE=str(tmp_path / "ca.pem")) as known:
            known.communicate(timeout=60)
        assert server.asked


@pytest.mark.parametrize("source", SOURCES)
def test_a_proxy_is_asked_if_the_image_names_it(source: str, tmp_path: Path) -> None:
    proxy = Server()
    with proxy.serving() as port, loader(source, 1, tmp_path, HTTPS_PROXY=f"http://127.0.0.1:{port}") as process:
        assert process.stderr is not None
        assert process.stderr.readline()
    assert proxy.asked[0] == "localhost:1"
