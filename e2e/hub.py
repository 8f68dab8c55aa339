"""A hub in the cluster, run in a pod from this text: as much of Hugging Face's protocol as a download needs.

It serves one file, slowly, to whoever has the token, and prints each download. It needs nothing but Python.
"""

import hashlib
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPO, COMMIT, NAME = "tomoul/tiny", "0" * 40, "tiny.gguf"
PIECES = 16


class Handler(BaseHTTPRequestHandler):
    """Of the model in the image."""

    data = b""
    token = ""
    seconds = 0.0

    def do_GET(self) -> None:
        """A listing, or a part of the file."""
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self.answer(403, b"{}")
        elif self.path.startswith(f"/api/models/{REPO}/revision/"):
            digest = hashlib.sha256(self.data).hexdigest()
            lfs = {"size": len(self.data), "sha256": digest, "pointerSize": 130}
            entry = {"rfilename": NAME, "size": len(self.data), "blobId": "0" * 40, "lfs": lfs}
            self.answer(200, json.dumps({"id": REPO, "sha": COMMIT, "siblings": [entry]}).encode())
        elif self.path == f"/{REPO}/resolve/{COMMIT}/{NAME}":
            offset = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            print(f"download from {offset}", flush=True)
            self.head(206, len(self.data) - offset)
            piece = -(-len(self.data) // PIECES)
            for start in range(offset, len(self.data), piece):
                self.wfile.write(self.data[start : start + piece])
                time.sleep(self.seconds / PIECES)
        else:
            self.answer(404, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        """A whole answer."""
        self.head(status, len(body))
        self.wfile.write(body)

    def head(self, status: int, length: int) -> None:
        """Of an answer of `length` bytes."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()


if __name__ == "__main__":
    path, Handler.token, seconds = sys.argv[1:]
    Handler.data, Handler.seconds = Path(path).read_bytes(), float(seconds)
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
