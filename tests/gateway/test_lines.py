"""One line for every call and for what never was one, and none is lost when Envoy ends."""

import json
import socket
from typing import Any

from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import FakeEngine, call, receive


def lines(gateway: Gateway) -> list[dict[str, Any]]:
    whole, _, _ = gateway.output.read_text().rpartition("\n")
    return [json.loads(text) for text in whole.splitlines()]


def test_the_line_of_a_call_is_written_though_envoy_ends_right_after_it(gateway: Gateway) -> None:
    engine = FakeEngine()
    engine.start()
    gateway.publish([table([model("acme/a", pools=pools("a"))])], {"a": [engine]})
    answers = [call(gateway.port, body={"model": "acme/a", "messages": [{}]}) for _ in range(5)]
    gateway.terminate()
    assert [entry["request_id"] for entry in lines(gateway)] == [answer.header("x-request-id") for answer in answers]
    engine.stop()


def test_what_is_no_http_has_one_line_with_its_code_and_the_next_call_has_its_own(gateway: Gateway) -> None:
    gateway.publish([table([])], {})
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n")
        answer = receive(connection)
    assert answer.status == 400
    call(gateway.port, "/v1/models")
    first, second = eventually(lambda: lines(gateway) if len(lines(gateway)) == 2 else [])
    assert (first["status"], first["code"], first["region"]) == (400, "invalid_request", "eu-west")
    assert answer.header("x-request-id")
    assert first["request_id"] == answer.header("x-request-id")
    assert [first[key] for key in ("path", "tenant", "model", "served", "cluster", "upstream")] == [None] * 6
    assert (second["status"], second["path"], second["tenant"]) == (200, "/v1/models", "anonymous")


def test_every_line_has_every_field_that_the_documents_name(gateway: Gateway) -> None:
    gateway.publish([table([])], {})
    call(gateway.port, "/v1/models")
    (entry,) = eventually(lambda: lines(gateway))
    assert list(entry) == [
        "time", "request_id", "method", "path", "tenant", "model", "pin", "cache", "code", "region", "served", "status",
        "prompt_tokens", "completion_tokens", "cached_tokens", "ttft_ms", "duration_ms", "first_byte_ms",
        "request_bytes", "response_bytes", "cluster", "upstream", "attempts", "flags", "details",
    ]  # fmt: skip
    assert (entry["method"], entry["attempts"], entry["flags"], entry["details"]) == ("GET", 0, "-", "tomoul")
    assert entry["duration_ms"] >= 0
    assert entry["response_bytes"] > 0
