"""A server with SGLang's own command line, request fields and prefix table, and nothing that needs a GPU.

A flag that SGLang does not know ends it; a field that SGLang does not read is dropped, as SGLang drops it, and counted.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sglang_package import PrefixTable, chat_fields, parser

ANSWER = "So it goes."
FIELDS = chat_fields()


class Engine:
    """What is counted and kept."""

    def __init__(self, flags: Any) -> None:
        self.name, self.reports = flags.served_model_name, flags.enable_cache_report
        self.metrics = flags.enable_metrics
        self.table = PrefixTable(flags.disable_radix_cache, flags.page_size or 1)
        self.counts = {"prompt_tokens": 0, "cached_tokens": 0, "fields_dropped": 0}
        self.lock = threading.Lock()

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The usage of a call."""
        salt, extra = body.get("cache_salt"), body.get("extra_key")
        for field in (salt, extra):
            if field is not None and not isinstance(field, str):
                raise ValueError("cache_salt and extra_key should be a string for a single request.")
        prompt = "".join(f"{each['role']}: {each['content']}\n" for each in body["messages"]) + "assistant:"
        tokens = list(prompt.encode())
        with self.lock:
            cached = self.table.cached(tokens, extra, salt)
            self.table.insert([*tokens, *ANSWER.encode()[:-1]], extra, salt)
            self.counts["prompt_tokens"] += len(tokens)
            self.counts["cached_tokens"] += cached
            self.counts["fields_dropped"] += len(body.keys() - FIELDS)
        usage = {"prompt_tokens": len(tokens), "completion_tokens": len(ANSWER)}
        usage["total_tokens"] = len(tokens) + len(ANSWER)
        return usage | {"prompt_tokens_details": {"cached_tokens": cached} if self.reports else None}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, b"")
        elif self.path == "/metrics" and self.engine.metrics:
            with self.engine.lock:
                lines = [f"sglang:{name}_total {count}\n" for name, count in self.engine.counts.items()]
            self._send(200, "".join(lines).encode(), "text/plain")
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            usage = self.engine.complete(body)
        except ValueError as error:
            # SGLang's errors are flat, and their code is a number.
            said = {"object": "error", "message": str(error), "type": "BadRequestError", "param": None, "code": 400}
            self._send(400, json.dumps(said).encode())
            return
        base = {"id": "0f3a", "created": 1, "model": body["model"]}
        if body.get("stream"):
            self._stream(base, usage, body.get("stream_options") or {})
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        self._send(200, json.dumps({**base, "object": "chat.completion", "choices": [choice], "usage": usage}).encode())

    def _stream(self, base: dict[str, Any], usage: dict[str, Any], options: dict[str, Any]) -> None:
        base |= {"object": "chat.completion.chunk"}
        each = {"usage": usage} if options.get("continuous_usage_stats") else {}
        deltas = [({"role": "assistant", "content": ANSWER}, None), ({}, "stop")]
        events: list[Any] = [
            {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **each}
            for delta, reason in deltas
        ]
        events += [{**base, "choices": [], "usage": usage}] if options.get("include_usage") else []
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._send(200, text.encode(), "text/event-stream")

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    flags = parser().parse_args(sys.argv[1:])
    Handler.engine = Engine(flags)
    Server((flags.host, flags.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
