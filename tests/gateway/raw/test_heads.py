"""What the bytes of a request's head mean: the target, the version, and the header that names a region."""

import json

import pytest

from tests.gateway.raw.cases import HERE, REFUSED, THERE, Case, Outcome, check, run
from tests.gateway.raw.connection import Connection, request
from tests.gateway.two_regions import Platform

NO_REGION, NOT_FOUND, NO_JSON = "400 invalid_region", "404 not_found", "415 unsupported_media_type"
FORBIDDEN, OLD = "403 invalid_request", "426 invalid_request"


def with_headers(*headers: str, outcome: list[str]) -> Case:
    return Case(lambda body: request(*headers, body=body), outcome)


def with_line(line: str, *outcome: str) -> Case:
    return Case(lambda body: request(body=body, line=line), outcome=list(outcome))


PINS = {
    "another case": with_headers("x-TOMOUL-rEgIoN: us-east", outcome=[THERE, THERE]),
    "no space": with_headers("X-Tomoul-Region:us-east", outcome=[THERE, THERE]),
    "spaces and tabs around": with_headers("X-Tomoul-Region: \tus-east \t", outcome=[THERE, THERE]),
    "on a folded line": with_headers("X-Tomoul-Region:\r\n us-east", outcome=[THERE, THERE]),
    "two on a folded line": with_headers("X-Tomoul-Region: us-east\r\n , eu-west", outcome=[NO_REGION]),
    "two in a line": with_headers("X-Tomoul-Region: us-east, eu-west", outcome=[NO_REGION]),
    "two in two lines": with_headers("X-Tomoul-Region: us-east", "x-tomoul-region: eu-west", outcome=[NO_REGION]),
    "twice the same": with_headers("X-Tomoul-Region: us-east", "X-Tomoul-Region: us-east", outcome=[NO_REGION]),
    "empty": with_headers("X-Tomoul-Region:", outcome=[NO_REGION]),
    "only spaces": with_headers("X-Tomoul-Region: \t ", outcome=[NO_REGION]),
    "a tab inside": with_headers("X-Tomoul-Region: us\teast", outcome=[NO_REGION]),
    "a byte past ASCII": with_headers("X-Tomoul-Region: us-east\xa0", outcome=[NO_REGION]),
    "a NUL": with_headers("X-Tomoul-Region: us-east\0", outcome=[REFUSED]),
    "a DEL": with_headers("X-Tomoul-Region: us-east\x7f", outcome=[REFUSED]),
    "a NUL in the name": with_headers("X-Tomoul\0-Region: us-east", outcome=[REFUSED]),
    "a byte past ASCII in the name": with_headers("X-Tomoul-R\xe9gion: us-east", outcome=[REFUSED]),
    "a space before the colon": with_headers("X-Tomoul-Region : us-east", outcome=[REFUSED]),
    "no colon": with_headers("X-Tomoul-Region us-east", outcome=[REFUSED]),
    "underscores": with_headers("X_Tomoul_Region: us-east", outcome=[REFUSED]),
    "behind a bare line feed": with_headers("X-A: b\nX-Tomoul-Region: us-east", outcome=[THERE, THERE]),
    "taken away by the connection header": with_headers(
        "Connection: keep-alive, X-Tomoul-Region", "X-Tomoul-Region: us-east", outcome=[HERE, THERE]
    ),
    "in the host": with_headers("Host: us-east@us-east.example.com:99", outcome=[HERE, THERE]),
    "in two hosts": with_headers("Host: eu-west", "Host: us-east", outcome=[HERE, THERE]),
}
OTHER_HEADERS = {
    "headers that the gateway sets itself, named for removal": with_headers(
        "Connection: X-Forwarded-For, X-Forwarded-Proto", outcome=[REFUSED]
    ),
    "the host, named for removal": with_headers("Connection: Host", outcome=[REFUSED]),
    "the content type, named for removal": with_headers(
        "Connection: Content-Type", outcome=[NO_JSON]
    ),
    "two content types": with_headers(
        "Content-Type: application/json", "Content-Type: text/plain", outcome=[NO_JSON]
    ),
    "another content type": with_headers(
        "Content-Type: text/json", outcome=[NO_JSON]
    ),
    "gzip": with_headers("Content-Encoding: gzip", outcome=[NO_JSON]),
    "the content type of gRPC": with_headers("Content-Type: application/grpc", outcome=[NO_JSON]),
    "the content type of gRPC, pinned": with_headers(
        "Content-Type: application/grpc+json", "TE: trailers", "X-Tomoul-Region: us-east", outcome=[NO_JSON]
    ),
    "methods and paths in headers": with_headers(
        "X-HTTP-Method-Override: GET", "X-Original-URL: /v1/models", "X-Rewrite-URL: /v1/models", outcome=[HERE, THERE]
    ),
    "an upgrade to a web socket": with_headers(
        "Connection: Upgrade", "Upgrade: websocket", outcome=[FORBIDDEN]
    ),
    "an upgrade to HTTP/2": with_headers(
        "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        outcome=[HERE, THERE],
    ),
    "too many": with_headers(*(f"x-{number}: a" for number in range(150)), outcome=["431 request_too_large"]),
    "too long": with_headers("X-Tomoul-Region: " + "a" * 100_000, outcome=["431 request_too_large"]),
    "a continuation that is expected": with_headers("Expect: 100-continue", outcome=["100", HERE, THERE]),
    "something else that is expected": with_headers("Expect: 200-ok", outcome=[HERE, THERE]),
}  # fmt: skip
LINES = {
    "absolute": with_line("POST http://us-east:99/v1/chat/completions HTTP/1.1", HERE, THERE),
    "absolute with a user": with_line("POST http://u:p@us-east/v1/chat/completions HTTP/1.1", HERE, THERE),
    "absolute with another scheme": with_line("POST https://us-east/v1/chat/completions HTTP/1.1", FORBIDDEN),
    "absolute with no scheme of HTTP's": with_line("POST ftp://us-east/v1/chat/completions HTTP/1.1", REFUSED),
    "dots": with_line("POST /v1/models/../chat/completions HTTP/1.1", HERE, THERE),
    "escaped dots": with_line("POST /v1/%2e%2e/v1/chat/completions HTTP/1.1", HERE, THERE),
    "a query": with_line("POST /v1/chat/completions?x=/../../models HTTP/1.1", HERE, THERE),
    "two slashes": with_line("POST /v1//chat/completions HTTP/1.1", NOT_FOUND),
    "two slashes first": with_line("POST //v1/chat/completions HTTP/1.1", NOT_FOUND),
    "an escaped slash": with_line("POST /v1/chat%2fcompletions HTTP/1.1", NOT_FOUND),
    "a semicolon": with_line("POST /v1/chat/completions;x HTTP/1.1", NOT_FOUND),
    "a fragment": with_line("POST /v1/chat/completions#x HTTP/1.1", REFUSED),
    "backslashes": with_line("POST \\v1\\chat\\completions HTTP/1.1", REFUSED),
    "a NUL": with_line("POST /v1/chat/completions\0 HTTP/1.1", REFUSED),
    "a byte past ASCII": with_line("POST /v1/chat/completions\x80 HTTP/1.1", REFUSED),
    "an asterisk": with_line("OPTIONS * HTTP/1.1", NOT_FOUND),
    "a tunnel": with_line("CONNECT us-east:80 HTTP/1.1", REFUSED),
    "a trace": with_line("TRACE /v1/chat/completions HTTP/1.1", "405 method_not_allowed"),
    "a method in lower case": with_line("post /v1/chat/completions HTTP/1.1", REFUSED),
    "a method that nobody knows": with_line("FROBNICATE /v1/chat/completions HTTP/1.1", REFUSED),
    "HTTP/1.0": with_line("POST /v1/chat/completions HTTP/1.0", OLD),
    "HTTP/0.9": with_line("POST /v1/chat/completions", OLD),
    "HTTP/2.0 in words": with_line("POST /v1/chat/completions HTTP/2.0", OLD),
    "a query that is longer than engines take": with_line(
        "POST /v1/chat/completions?" + "x" * 50_000 + " HTTP/1.1", HERE, THERE
    ),
    "a long line": with_line("GET /v1/models/" + "x" * 100_000 + " HTTP/1.1", "431 request_too_large"),
    "TLS": Case(lambda body: bytes.fromhex("1603010200010001fc0303") + bytes(600), [REFUSED]),
    "a proxy's preface": Case(
        lambda body: b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request(body=body), [REFUSED]
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(shared_platform: Platform) -> dict[str, Outcome]:
    tables = {"pin": PINS, "header": OTHER_HEADERS, "line": LINES}
    cases = {f"{kind}: {name}": case for kind, table in tables.items() for name, case in table.items()}
    return run(shared_platform, cases)


@pytest.mark.parametrize("name", PINS)
def test_what_bytes_name_a_region_and_what_is_refused(outcomes: dict[str, Outcome], name: str) -> None:
    check(PINS[name], outcomes[f"pin: {name}"])


def test_head_has_no_body_whatever_it_says_of_itself(platform: Platform) -> None:
    for content_type in ("application/json", "application/grpc"):
        head = request(f"Content-Type: {content_type}", "Content-Length: 0", line="HEAD /v1/models HTTP/1.1")
        with Connection(platform.eu.port) as connection:
            connection.send(head + request("Connection: close", line="GET /v1/models HTTP/1.1"))
            first, second, answer = connection.rest().decode().split("\r\n\r\n")
        assert first.startswith(("HTTP/1.1 405", "HTTP/1.1 415"))
        assert second.startswith("HTTP/1.1 200"), "a body would stand before it"
        assert json.loads(answer)["object"] == "list"


@pytest.mark.parametrize("name", OTHER_HEADERS)
def test_no_other_header_changes_where_a_call_goes(outcomes: dict[str, Outcome], name: str) -> None:
    check(OTHER_HEADERS[name], outcomes[f"header: {name}"])


@pytest.mark.parametrize("name", LINES)
def test_a_request_line_names_one_of_the_paths_or_is_refused(outcomes: dict[str, Outcome], name: str) -> None:
    check(LINES[name], outcomes[f"line: {name}"])
