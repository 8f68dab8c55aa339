"""Where a request ends: nobody smuggles a second one past the gateway, and each call goes where it says itself."""

import pytest

from tests.gateway.raw.cases import HERE, LISTED, REFUSED, THERE, Case, Outcome, check, run
from tests.gateway.raw.connection import chunked, request
from tests.gateway.two_regions import Platform

UNKNOWN_CODING = "501 invalid_request"
CHUNKED = "Transfer-Encoding: chunked"


def with_length(value: str, expected: list[str]) -> Case:
    """A Content-Length of `value`, in which `N` is the body's."""
    return Case(lambda body: request(f"Content-Length:{value.replace('N', str(len(body)))}", body=body), expected)


def with_coding(line: str, expected: list[str]) -> Case:
    return Case(lambda body: request(line, body=chunked(body[:5], body[5:])), expected)


CASES = {
    "a length": with_length(" N", [HERE, THERE]),
    "a length with spaces around": with_length("  N ", [HERE, THERE]),
    "two equal lengths in a line": with_length(" N, N", [REFUSED]),
    "a length with a sign": with_length(" +N", [REFUSED]),
    "a negative length": with_length(" -1", [REFUSED]),
    "a hexadecimal length": with_length(" 0x23", [REFUSED]),
    "a length past 64 bits": with_length(" 18446744073709551651", [REFUSED]),
    "an empty length": with_length("", [REFUSED]),
    "two lengths": Case(
        lambda body: request("Content-Length: 2", f"Content-Length: {len(body)}", body=body), [REFUSED]
    ),
    "two equal lengths": Case(lambda body: request(*[f"Content-Length: {len(body)}"] * 2, body=body), [REFUSED]),
    "a length and then a coding": Case(
        lambda body: request("Content-Length: 4", CHUNKED, body=chunked(body)), [REFUSED]
    ),
    "a coding and then a length": Case(
        lambda body: request(CHUNKED, "Content-Length: 4", body=chunked(body)), [REFUSED]
    ),
    "chunks": with_coding(CHUNKED, [HERE, THERE]),
    "chunks in another case": with_coding("transfer-encoding:\tCHUNKED", [HERE, THERE]),
    "chunks twice": with_coding("Transfer-Encoding: chunked, chunked", [UNKNOWN_CODING]),
    "chunks in two lines": with_coding(f"{CHUNKED}\r\n{CHUNKED}", [UNKNOWN_CODING]),
    "an identity coding": with_coding("Transfer-Encoding: identity", [UNKNOWN_CODING]),
    "a gzip coding": with_coding("Transfer-Encoding: gzip, chunked", [UNKNOWN_CODING]),
    "a coding that only looks like chunks": with_coding("Transfer-Encoding: xchunked", [UNKNOWN_CODING]),
    "a coding behind a vertical tab": with_coding("Transfer-Encoding: \x0bchunked", [REFUSED]),
    "a coding with a space before its colon": with_coding("Transfer-Encoding : chunked", [REFUSED]),
    "a chunk with an extension": Case(
        lambda body: request(CHUNKED, body=b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body)), [HERE, THERE]
    ),
    "a chunk of no size": Case(lambda body: request(CHUNKED, body=b"zz\r\n" + body), [REFUSED]),
    "a chunk of a prefixed size": Case(
        lambda body: request(CHUNKED, body=b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)), [REFUSED]
    ),
    "a chunk of a negative size": Case(lambda body: request(CHUNKED, body=b"-1\r\n" + body), [REFUSED]),
    "a chunk of a size past 64 bits": Case(lambda body: request(CHUNKED, body=b"f" * 17 + b"\r\n" + body), [REFUSED]),
    "chunks with bare line feeds": Case(
        lambda body: request(CHUNKED, body=b"%x\n%s\n0\n\n" % (len(body), body)), [REFUSED]
    ),
    "a chunk that is longer than it says": Case(
        lambda body: request(CHUNKED, body=b"9\r\n%s\r\n0\r\n\r\n" % body), ["400 invalid_json"]
    ),
    "a trailer that would be a pin": Case(
        lambda body: request(
            CHUNKED, "Trailer: X-Tomoul-Region", body=chunked(body, trailers=b"X-Tomoul-Region: us-east\r\n")
        ),
        [HERE, THERE],
    ),
    "a trailer that would be a length": Case(
        lambda body: request(CHUNKED, body=chunked(body, trailers=b"Content-Length: 1\r\n")), [HERE, THERE]
    ),
    "a length that the connection header names": Case(
        lambda body: request("Connection: Content-Length", f"Content-Length: {len(body)}", body=body), [HERE, THERE]
    ),
    "a body that is a request, refused by its headers": Case(
        lambda body: request("Content-Type: text/plain", body=request(body=body)), ["415 unsupported_media_type"]
    ),
    "a body that is a request, where none is read": Case(
        lambda body: request(body=request(body=body), line="GET /v1/models HTTP/1.1"), [LISTED]
    ),
    "no body where one belongs, and a call behind it": Case(
        lambda body: request("Content-Length: 0", body=b""), ["400 invalid_json"]
    ),
    "bare line feeds for all line ends": Case(
        lambda body: request(body=body).replace(b"\r\n", b"\n"), [HERE, THERE]
    ),
    "empty lines first": Case(lambda body: b"\r\n\r\n" + request(body=body), [HERE, THERE]),
    "four calls at once": Case(
        lambda body: (
            request("X-Tomoul-Region: us-east", body=body)
            + request("X-Tomoul-Region: eu-west", body=body)
            + request(body=body)
        ),
        [THERE, HERE, HERE, THERE],
    ),
    "no HTTP behind a call": Case(lambda body: request(body=body) + b"GARBAGE\r\n\r\n", [HERE, REFUSED]),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(shared_platform: Platform) -> dict[str, Outcome]:
    return run(shared_platform, CASES)


@pytest.mark.parametrize("name", CASES)
def test_where_a_request_ends_is_never_in_doubt(outcomes: dict[str, Outcome], name: str) -> None:
    check(CASES[name], outcomes[name])
